"""Import mmseg without its noise."""

import contextlib
import importlib
import io
import warnings

_done = False


def import_mmseg_quietly() -> None:
    """Import mmseg's data sets and models, and register them, without a word.

    mmseg says "Could not import OneDL" twice on stdout and mmcv warns that it has no compiled
    MultiScaleDeformableAttention; neither matters here, and both would hide what does. Other
    output is passed on. Calls after the first do nothing.
    """
    global _done
    if _done:
        return
    said = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(said):
            warnings.filterwarnings("ignore", message=".*MultiScaleDeformableAttention.*")
            importlib.import_module("mmcv.cnn.bricks.transformer")
            importlib.import_module("mmseg.datasets")
            importlib.import_module("mmseg.models")
    finally:
        for line in said.getvalue().splitlines():
            if "Could not import OneDL" not in line:
                print(line)
    _done = True
