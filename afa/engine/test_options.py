"""What a test does beside running the network once: its options, their config, their report."""

import copy
import itertools
import os.path as osp
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS, MODELS

from afa.datasets import VOC12Dataset
from afa.engine.config.components import find_component
from afa.engine.config.files import stage_datasets
from afa.engine.crf_test_loop import CRFTestLoop
from afa.files.whole_file import write_json
from afa.models import MultiScaleTTA
from afa.utils.environment import collect_versions
from afa.utils.ordered_pool import default_workers

REPORT = "test.json"
VOC_FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"
_LOOP_KEYS = ("label_thr", "max_side")  # of test_cfg.crf; the others are constants of the CRF
_IOU_METRICS = ("WSSSIoUMetric", "IoUMetric")
_KEPT_ARGS = ("classes", "ignore_index", "nan_to_num")  # of the metric that --crf repeats
_TRUTH_STEPS = ("LoadAnnotations", "LoadOptionalMask")


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of ``tools/test.py``.

    Args:
        tta: test at several scales with mirror images.
        tta_merge: ``'max'`` or ``'mean'`` over scales; None as the config says.
        crf: sharpen the segmentation with a dense CRF.
        crf_workers: processes that compute CRFs; None for what the machine has.
        split: name of the list of images, instead of the config's.
        format_only: write label maps and measure nothing.
        out: folder for the label maps; None for one in the work dir.
        overwrite: replace the label maps of an earlier run.

    Raises:
        ValueError: If an option has no effect, or is out of range.
    """

    tta: bool = False
    tta_merge: str | None = None
    crf: bool = False
    crf_workers: int | None = None
    split: str | None = None
    format_only: bool = False
    out: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse what would be ignored."""
        needs = (
            ("--tta-merge", self.tta_merge is not None, "--tta", self.tta),
            ("--crf-workers", self.crf_workers is not None, "--crf", self.crf),
            ("--out", self.out is not None, "--format-only", self.format_only),
            ("--overwrite", self.overwrite, "--format-only", self.format_only),
        )
        for option, given, needed, there in needs:
            if given and not there:
                raise ValueError(f"{option} has no effect without {needed}: add it.")
        if self.crf_workers is not None and self.crf_workers < 0:
            raise ValueError(
                f"--crf-workers must be 0 or more, got {self.crf_workers}: 0 computes the CRFs in "
                "the main process."
            )


def apply_options(cfg: Config, options: EvaluationOptions) -> None:
    """Change a config in place so that its test does what the options say.

    Its components must be registered.

    Raises:
        ValueError: If config and options do not go together.
    """
    if not cfg.get("test_dataloader") or not cfg.get("model"):
        raise ValueError("A test needs a config with model and test_dataloader.")
    cfg.test_dataloader = copy.deepcopy(cfg.test_dataloader)  # val may share it
    crf = dict((cfg.model.get("test_cfg") or {}).get("crf") or {})
    if options.split is not None:
        _choose_split(cfg, options.split)
    if options.tta:
        _use_tta(cfg, options)
    if options.crf:
        _use_crf(cfg, crf, options)
    if options.format_only:
        _format_only(cfg, options)
    else:
        _check_truth(cfg)


def _test_datasets(cfg: Config) -> list[Any]:
    return [dataset for _, dataset in stage_datasets(cfg, ("test",))]


def _choose_split(cfg: Config, split: str) -> None:
    """Make the test read another list: that of another loader, or the file beside its own."""
    dataset, *others = _test_datasets(cfg) or [{}]
    if not others and "split" in dataset:  # the labels file names the splits
        dataset["split"] = split
        return
    if others or not dataset.get("ann_file"):
        raise ValueError(
            "--split needs a test_dataloader with one data set and its ann_file: set "
            "test_dataloader.dataset with --cfg-options instead."
        )
    for _, other in stage_datasets(cfg, ("test", "val", "train")):
        if _stem(other) == split:
            for key in ("data_root", "ann_file", "data_prefix", "image_labels"):
                if key in other:
                    dataset[key] = copy.deepcopy(other[key])
            return
    folder = osp.dirname(dataset["ann_file"])
    whole = Path(dataset.get("data_root") or "", folder)
    if osp.basename(split) != split or not (whole / f"{split}.txt").is_file():
        names = sorted(path.stem for path in whole.glob("*.txt"))
        raise ValueError(
            f"There is no list '{split}.txt' in '{whole}': --split takes one of "
            f"{', '.join(names) or 'those that you put there'}."
        )
    dataset["ann_file"] = osp.join(folder, f"{split}.txt")


def _stem(dataset: Mapping[str, Any]) -> str:
    return Path(dataset.get("ann_file") or "").stem


def _split(dataset: Mapping[str, Any]) -> str:
    return _stem(dataset) or dataset.get("split") or "all"


def _use_tta(cfg: Config, options: EvaluationOptions) -> None:
    """Wrap the model: with the config's tta_model as mmseg does, else with MultiScaleTTA."""
    if "tta_model" not in cfg:
        given = (cfg.model.get("test_cfg") or {}).get("tta") or {}
        merge = {} if options.tta_merge is None else {"merge": options.tta_merge}
        cfg.model = ConfigDict({"type": "MultiScaleTTA", "module": cfg.model, **given, **merge})
        return
    if "tta_pipeline" not in cfg:
        raise ValueError(
            "The config has tta_model but no tta_pipeline: --tta needs both, or neither for the "
            "scales of model.test_cfg.tta."
        )
    if options.tta_merge is not None:
        raise ValueError("--tta-merge is not for the config's own tta_model: set it there.")
    if options.crf:
        raise ValueError(
            "--crf cannot see the merged logits of the config's own tta_model: leave one of "
            "them out, or remove tta_model for the scales of model.test_cfg.tta."
        )
    _keep_logits(cfg.model, "full")
    for dataset in _test_datasets(cfg):
        dataset["pipeline"] = cfg.tta_pipeline
    cfg.test_pipeline = cfg.tta_pipeline
    cfg.tta_model.module = cfg.model
    cfg.model = cfg.tta_model


def _keep_logits(model: Any, size: str) -> None:
    """Ask a model of ours for its logits; mmseg's give them unasked, at the size of the photo."""
    component = find_component(model.get("type"), MODELS)
    if component is MultiScaleTTA:
        model["seg_logits"] = size
    elif getattr(component, "keeps_logits", False):
        model["test_cfg"] = ConfigDict({**(model.get("test_cfg") or {}), "seg_logits": size})


def _use_crf(cfg: Config, crf: dict[str, Any], options: EvaluationOptions) -> None:
    """Take the loop with CRF workers, and measure its label map beside the segmentation."""
    loop = dict(cfg.get("test_cfg") or {})
    if loop.get("type", "TestLoop") != "TestLoop":
        raise ValueError(f"--crf replaces TestLoop, but test_cfg of the config is {loop['type']}.")
    workers = default_workers() if options.crf_workers is None else options.crf_workers
    loop.update({key: crf.pop(key) for key in _LOOP_KEYS if key in crf})
    crf = {"type": "DenseCRF", **crf}
    cfg.test_cfg = ConfigDict({**loop, "type": "CRFTestLoop", "crf": crf, "num_workers": workers})
    _keep_logits(cfg.model, "head")
    if options.format_only:
        return
    metrics, seg = _metrics(cfg), "pred_sem_seg"
    ious = [metric for metric in metrics if metric.get("type") in _IOU_METRICS]
    own = [metric for metric in ious if metric.get("field", seg) == seg]
    if not own:
        raise ValueError(
            "--crf needs a metric of the segmentation in test_evaluator, such as "
            "dict(type='WSSSIoUMetric', prefix='seg')."
        )
    kept = {key: own[0][key] for key in _KEPT_ARGS if key in own[0]}
    added = {"type": "WSSSIoUMetric", **kept, "field": "pred_crf", "prefix": "crf"}
    cfg.test_evaluator = [*metrics, ConfigDict(added)]


def _metrics(cfg: Config) -> list[Any]:
    evaluator = cfg.get("test_evaluator") or []
    if isinstance(evaluator, Mapping) and "metrics" in evaluator:
        evaluator = evaluator["metrics"]
    return list(evaluator) if isinstance(evaluator, (list, tuple)) else [evaluator]


def _format_only(cfg: Config, options: EvaluationOptions) -> None:
    """Let the test run without truth and write label maps."""
    datasets = _test_datasets(cfg)
    if not datasets:
        raise ValueError("--format-only needs a data set in test_dataloader.")
    for dataset in datasets:
        dataset["pipeline"] = _without_truth(dataset.get("pipeline") or [])
        component = find_component(dataset.get("type"), DATASETS)
        if "image_labels" in dataset and not hasattr(component, "classes_of"):
            dataset["image_labels"] = None  # needed only where the classes stand in them
        prefix = dataset.get("data_prefix") or {}
        dataset["data_prefix"] = {k: v for k, v in prefix.items() if k != "seg_map_path"}
    if "test_pipeline" in cfg:
        cfg.test_pipeline = datasets[0]["pipeline"]
    inner = cfg.model.get("module", cfg.model)
    if "pseudo_labels" in (inner.get("test_cfg") or {}):
        inner["test_cfg"]["pseudo_labels"] = False
    cfg.test_evaluator = ConfigDict(
        type="LabelPNGMetric",
        out_dir=options.out or osp.join(cfg.work_dir, f"format-{_split(datasets[0])}"),
        **_result_places(datasets[0]),
        field="pred_crf" if options.crf else "pred_sem_seg",
        overwrite=options.overwrite,
    )


def _result_places(dataset: Mapping[str, Any]) -> dict[str, str]:
    """Name folder and archive: what the VOC server asks for, or plain folders for other sets."""
    component = find_component(dataset.get("type"), DATASETS)
    if isinstance(component, type) and issubclass(component, (VOC12Dataset, PascalVOCDataset)):
        return {"folder": VOC_FOLDER, "archive": "results.tar.gz"}
    name = str(getattr(component, "__name__", "set")).removesuffix("Dataset") or "set"
    return {"folder": f"results/{name}/{_split(dataset)}"}


def _without_truth(steps: Any) -> list[Any]:
    """Take out the steps that load masks, also inside of other steps."""
    kept: list[Any] = []
    for step in steps:
        if isinstance(step, (list, tuple)):
            inner_steps = _without_truth(step)
            kept += [inner_steps] if inner_steps or not step else []  # [] would leave no variant
        elif not isinstance(step, Mapping):
            kept.append(step)
        elif not any(name in str(step.get("type")) for name in _TRUTH_STEPS):
            inner = {k: _without_truth(step[k]) for k in ("transforms",) if k in step}
            kept.append(ConfigDict({**step, **inner}))
    return kept


def _check_truth(cfg: Config) -> None:
    """Refuse a test that can measure nothing."""
    types = [metric.get("type") for metric in _metrics(cfg) if isinstance(metric, Mapping)]
    pipelines = [dataset.get("pipeline") or [] for dataset in _test_datasets(cfg)]
    loads = any(steps != _without_truth(steps) for steps in pipelines)
    if types and not loads and all(kind in _IOU_METRICS for kind in types):
        raise ValueError(
            "The test pipeline loads no masks (LoadAnnotations), so that nothing can be measured: "
            "add it, or write label maps with --format-only."
        )


def write_report(
    runner: Runner, metrics: Mapping[str, Any], options: EvaluationOptions, seconds: float
) -> Path:
    """Write ``test.json``, figures and what they depend on, into the log folder of a run.

    Only the main process may call it. The file is returned.

    Args:
        runner: The runner after its test.
        metrics: Its figures.
        options: The options of the test.
        seconds: How long it took.
    """
    cfg, num_images = runner.cfg, len(runner.test_dataloader.dataset)
    path = Path(runner.log_dir) / REPORT
    for number in itertools.count(2):  # of tests that began in the same second
        if not path.exists():
            break
        path = path.with_name(f"test-{number}.json")
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
    own = dict(label_thr=loop.label_thr, max_side=loop.max_side)
    return dict(**asdict(loop.crf), **own, num_workers=loop.pool.num_workers)
