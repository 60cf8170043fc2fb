"""The file that remains of a test: figures, and what they depend on."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from afa.engine.evaluation_options import EvaluationOptions
from afa.engine.loops import CRFTestLoop
from afa.files.whole_file import write_json
from afa.models import MultiScaleTTA
from afa.utils.environment import collect_versions

REPORT = "test.json"


def write_report(
    runner: Runner, metrics: Mapping[str, Any], options: EvaluationOptions, seconds: float
) -> Path:
    """Write ``test.json`` into the log folder of a run; only the main process may call it.

    Args:
        runner: The runner after its test.
        metrics: Its figures.
        options: The options of the test.
        seconds: How long it took.

    Returns:
        The file.
    """
    cfg, num_images = runner.cfg, len(runner.test_dataloader.dataset)
    path = Path(runner.log_dir) / REPORT
    device = next(runner.model.parameters()).device
    write_json(
        path,
        dict(
            figures=dict(metrics),
            num_images=num_images,
            config=cfg.filename,
            checkpoint=cfg.load_from,
            options=asdict(options),
            tta=_tta_settings(runner) if options.tta else None,
            crf=_crf_settings(runner) if options.crf else None,
            seconds=round(seconds, 1),
            seconds_per_image=round(seconds / num_images, 4),
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
            num_processes=get_world_size(),
            versions=collect_versions(),
        ),
    )
    return path


def _tta_settings(runner: Runner) -> dict[str, Any]:
    """Give the settings that the test had, defaults included."""
    model = runner.model
    while is_model_wrapper(model):
        model = model.module
    if isinstance(model, MultiScaleTTA):
        return dict(scales=model.scales, flip=model.flip, merge=model.merge)
    return dict(tta_model=type(model).__name__)


def _crf_settings(runner: Runner) -> dict[str, Any]:
    loop = runner.test_loop
    assert isinstance(loop, CRFTestLoop), "--crf sets this loop"
    return dict(
        **loop.crf.settings,
        label_thr=loop.label_thr,
        max_side=loop.max_side,
        num_workers=loop.pool.num_workers,
    )
