"""Whole runs as functions, and prediction as mmseg.apis has it.

Names are imported when they are used: most modules here are heavy.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "PredictSummary": "photo_predictor",
    "PredictionFolder": "prediction_folder",
    "Wanted": "photo_predictor",
    "inference_model": "inference",
    "init_model": "inference",
    "predict_photos": "photo_predictor",
    "show_result_pyplot": "inference",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
