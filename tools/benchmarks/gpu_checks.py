"""What must hold on a GPU, check by check: values against the CPU's, waits, repeatability.

`gpu.py` runs them, `gpu.py --checks NAME ...` some of them, and the tests every one with `cpu` in
the place of the GPU.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from afa.datasets.shapes import write_shapes
from afa.engine.compile_parts import compile_parts
from afa.engine.config import load_config
from afa.engine.runner import build_runner
from afa.files.crf import CRFSettings, check_crf, dense_crf
from afa.models.refiners import PAR
from afa.models.segmentors import MultiScaleTTA
from afa.utils.checkpoint import load_state
from no_waits import no_waits
from plain_par import plain_par

ROOT = Path(__file__).resolve().parents[2]
AFA_CONFIG = "configs/afa/afa_mit-b0_1xb8-820it_shapes-96x96.py"
CONFIGS = dict(
    AFA=AFA_CONFIG,
    AFA_lite0="configs/afa/afa_lite0_1xb8-580it_voc12mini-224x224.py",
    AFA_DeiT="configs/afa/afa_deit-s_2xb2-20k_voc12aug-448x448.py",
    AFA_regulariser="configs/afa/afa_mit-b1_reg_2xb2-20k_voc12aug-512x512.py",
    classifier="configs/affinitynet/classifier_mit-b0_1xb8-380it_shapes-96x96.py",
    AffinityNet="configs/affinitynet/affinitynet_mit-b0_1xb8-150it_shapes-96x96.py",
    sub_categories="configs/sccam/subcategories_mit-b0_1xb8-190it_shapes-96x96.py",
    segmentation="configs/affinitynet/segment_mit-b0_1xb8-300it_shapes-96x96.py",
)
SIDE = 64  # of the images
NOT_ON_CPU = ("second_gpu", "compiled")
# What is repeatable on a GPU: cuBLAS reads this at its start.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@dataclass(frozen=True)
class Figure:
    """A number that a check finds, and what it may be at most."""

    name: str
    value: float
    limit: float


class NotHereError(Exception):
    """What a check needs is not on this machine."""


def par_check(device: str, _: Path) -> list[Figure]:
    """PAR against the formula as it is usually computed, in float32 on CPU; odd sizes too."""
    generator = torch.Generator().manual_seed(0)
    found = dict(float32=0.0, bfloat16=0.0)
    for H, W in ((50, 40), (37, 53), (1, 7), (96, 128)):
        images = 255 * torch.rand(2, 3, H, W, generator=generator)
        for num_masks in (1, 3, 17):
            masks = torch.rand(2, num_masks, H, W, generator=generator)
            usual = plain_par(images, masks)
            for dtype in found:
                par = PAR(dtype=dtype).to(device)
                made = par(images.to(device), masks.to(device)).cpu()
                found[dtype] = max(found[dtype], float((made - usual).abs().max()))
    return [
        Figure("PAR, float32: largest difference", found["float32"], 1e-4),
        Figure("PAR, bfloat16: largest difference", found["bfloat16"], 0.06),
    ]


def second_gpu_check(device: str, _: Path) -> list[Figure]:
    """PAR on the second GPU while the first is the current one."""
    if device == "cpu" or torch.cuda.device_count() < 2:
        raise NotHereError("there is no second GPU")
    images, masks = 255 * torch.rand(1, 3, 33, 41), torch.rand(1, 3, 33, 41)
    with torch.cuda.device(0):
        made = PAR()(images.to("cuda:1"), masks.to("cuda:1")).cpu()
    return [Figure("PAR on cuda:1", float((made - PAR()(images, masks)).abs().max()), 1e-4)]


def loss_check(device: str, _: Path) -> list[Figure]:
    """Losses and gradients of every method and phase: the device's against the CPU's."""
    found = []
    for name in CONFIGS:
        worst = [0.0, 0.0]
        for phase in _phases(name):
            loss, norm, _ = _loss(name, device, phase)
            usual, usual_norm = (loss, norm) if device == "cpu" else _loss(name, "cpu", phase)[:2]
            worst[0] = max(worst[0], abs(loss - usual) / abs(usual))
            worst[1] = max(worst[1], abs(norm - usual_norm) / usual_norm)
        found.append(Figure(f"{name}: loss, relative", worst[0], 1e-3))
        found.append(Figure(f"{name}: norm of the gradient, relative", worst[1], 1e-2))
    return found


def label_check(device: str, _: Path) -> list[Figure]:
    """Every label map of a test image; and over scales, then by a dense CRF."""
    check_crf()
    images, maps = _batch("AFA", "cpu")[0], {}
    for one in (device, "cpu"):
        model = _build("AFA", one).eval()
        model.test_cfg = type(model.test_cfg)(pseudo_labels=True)
        inputs, samples = _batch("AFA", one)
        result = model.predict(inputs, samples)[0]
        kinds = [key for key in list(result.keys()) if key.startswith("pred_")]
        kinds.remove("pred_label")
        maps[one] = {key: result.get(key).data.cpu() for key in kinds}
        logits = MultiScaleTTA(model).merged_logits(inputs)[:1].float()
        logits = torch.nn.functional.interpolate(logits, size=(SIDE, SIDE), mode="bilinear")
        maps[one]["several scales"] = logits.argmax(dim=1).cpu()
        photo = (images[0].permute(1, 2, 0) * 60 + 128).clamp(0, 255).byte().numpy()
        shares = logits[0].softmax(dim=0).cpu().numpy()
        maps[one]["several scales, CRF"] = torch.as_tensor(
            dense_crf(photo, shares, CRFSettings()).argmax(axis=0)
        )
    usual = maps["cpu"]
    differ = {key: float((maps[device][key] != usual[key]).float().mean()) for key in usual}
    return [Figure(f"{key}: share of pixels", value, 5e-3) for key, value in differ.items()]


def precision_check(device: str, _: Path) -> list[Figure]:
    """Loss in bfloat16 and in TF32 beside float32."""
    usual = _loss("AFA", device, "propagated")[0]
    mixed = _loss("AFA", device, "propagated", dtype=torch.bfloat16)[0]
    with _TF32(True):
        tf32 = _loss("AFA", device, "propagated")[0]
    return [
        Figure("bfloat16: loss, relative", abs(mixed - usual) / usual, 0.05),
        Figure("TF32: loss, relative", abs(tf32 - usual) / usual, 0.01),
    ]


def compiled_check(device: str, _: Path) -> list[Figure]:
    """Loss of compiled networks, and as CUDA graphs, beside that of the plain ones."""
    if device == "cpu":
        raise NotHereError("compiling takes minutes on a CPU")
    usual, found = _loss("AFA", device, "propagated")[0], []
    for name, options in dict(compiled=True, graphs=dict(mode="reduce-overhead")).items():
        loss = _loss("AFA", device, "propagated", compiled=options)[0]
        found.append(Figure(f"{name}: loss, relative", abs(loss - usual) / usual, 1e-3))
    return found


def repeat_check(device: str, _: Path) -> list[Figure]:
    """Two steps with the same numbers, where only what is repeatable may run: no difference."""
    torch.use_deterministic_algorithms(True)
    found = []
    for name in CONFIGS:
        runs = [_loss(name, device, _phases(name)[-1])[2] for _ in range(2)]
        differ = max(float((a - b).abs().max()) for a, b in zip(*runs, strict=True))
        found.append(Figure(f"{name}: gradients of two runs", differ, 0.0))
    return found


def wait_check(device: str, _: Path) -> list[Figure]:
    """No wait of the host for the GPU inside AFA's step (the second one: the first fills caches).

    Without a GPU torch's device ``meta`` stands for it.
    """
    for name in CONFIGS:
        for phase in _phases(name) if name.startswith("AFA") else ():
            no_waits(
                _build(name, "cpu").train(), lambda place, n=name: _batch(n, place), phase, device
            )
    return [Figure("waits", 0.0, 0.0)]


def resume_check(device: str, work: Path) -> list[Figure]:
    """A training in one piece, and one that goes on from its middle: no weight differs."""
    write_shapes(work / "shapes", 8, 2)
    states = []
    for number, resume in enumerate((None, work / "run_0" / "iter_2.pth")):
        cfg = load_config(
            str(ROOT / AFA_CONFIG),
            options={
                "data_root": str(work / "shapes"),
                "work_dir": str(work / f"run_{number}"),
                "train_cfg.max_iters": 4,
                "train_cfg.val_interval": 4,
                "train_dataloader.batch_size": 2,
                "param_scheduler.1.end": 5,
                "param_scheduler.0.end": 1,
                "param_scheduler.1.begin": 1,
                "custom_hooks.0.phases": dict(cls=0, pseudo=1, propagated=3),
                "default_hooks.checkpoint.interval": 2,
                "default_hooks.checkpoint.max_keep_ckpts": 2,
                "train_dataloader.num_workers": 0,
                "train_dataloader.persistent_workers": False,
                "val_dataloader.num_workers": 0,
                "val_dataloader.persistent_workers": False,
                "randomness": dict(seed=0, deterministic=True),
            },
        )
        shutil.rmtree(cfg.work_dir, ignore_errors=True)
        runner = build_runner(cfg, resume=None if resume is None else str(resume))
        runner.train()
        states.append(load_state(str(work / f"run_{number}" / "iter_4.pth"))["state_dict"])
        if device != "cpu" and next(runner.model.parameters()).device.type != "cuda":
            raise AssertionError("the training ran on the CPU")
    differ = sum(not torch.equal(states[0][key], states[1][key]) for key in states[0])
    return [Figure("weights that differ after a resumed training", differ, 0)]


CHECKS: dict[str, Callable[[str, Path], list[Figure]]] = dict(
    par=par_check,
    losses=loss_check,
    labels=label_check,
    waits=wait_check,
    precision=precision_check,
    resume=resume_check,
    repeat=repeat_check,
    second_gpu=second_gpu_check,
    compiled=compiled_check,
)


def run_check(name: str, device: str, work_dir: Path) -> dict[str, Any]:
    """Run a check, whatever happens in it.

    Args:
        name: of :data:`CHECKS`.
        device: ``'cuda'``; ``'cpu'`` to rehearse.
        work_dir: folder for what it writes.

    Returns:
        ``name``, ``what`` (the first line of its text), ``outcome`` (``'passed'``, ``'failed'`` or
        ``'not here'``), ``said``, ``figures`` and ``seconds``.
    """
    check = CHECKS[name]
    what = (check.__doc__ or name).splitlines()[0]
    begin, figures, said = time.perf_counter(), [], ""
    try:
        with _TF32(False):
            figures = check(device, work_dir)
        bad = [one for one in figures if not one.value <= one.limit]
        outcome = "failed" if bad else "passed"
        said = "; ".join(f"{one.name} {one.value:.3g} above {one.limit:g}" for one in bad)
    except NotHereError as reason:
        outcome, said = "not here", str(reason)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        outcome, said = "failed", f"{type(error).__name__}: {lines[0][:500]}{_place(error)}"
    finally:
        torch.use_deterministic_algorithms(False)
    seconds = time.perf_counter() - begin
    rows = [asdict(one) for one in figures]
    return dict(name=name, what=what, outcome=outcome, said=said, figures=rows, seconds=seconds)


def _place(error: Exception) -> str:
    """Where in our files an error comes from."""
    place, trace = "", error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if ROOT in path.parents and "site-packages" not in path.parts:
            place = f" ({path.relative_to(ROOT)}:{trace.tb_lineno})"
        trace = trace.tb_next
    return place


class _TF32:
    """Switch TF32 for a while."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def __enter__(self) -> None:
        self.before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        self._set(self.on, self.on)

    def __exit__(self, *_: Any) -> None:
        self._set(*self.before)

    @staticmethod
    def _set(matmul: bool, cudnn: bool) -> None:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def _phases(name: str) -> tuple[str | None, ...]:
    return ("cls", "pseudo", "propagated") if name.startswith("AFA") else (None,)


def _build(name: str, device: str) -> Any:
    """Build the model of a config with drawn weights, the same on every device."""
    init_default_scope("mmseg")
    cfg = load_config(str(ROOT / CONFIGS[name])).model
    cfg.backbone.init_cfg = None
    cfg.backbone.pop("pretrained", None)
    for key in ("drop_path_rate", "drop_rate"):  # drawn numbers are the device's own
        if key in cfg.backbone:
            cfg.backbone[key] = 0.0
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
    return model.to(device)


def _batch(name: str, device: str) -> tuple[Tensor, list[SegDataSample]]:
    """Two images of blocks of colour, and everything that any method learns from."""
    cfg = load_config(str(ROOT / CONFIGS[name])).model
    head = cfg.get("cls_head") or cfg.get("decode_head") or {}
    num_labels = (head.get("num_classes") or 21) - 1
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(2, 3, SIDE // 16, SIDE // 16, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
    images += 0.1 * torch.randn(images.shape, generator=generator)
    samples = []
    for i in range(2):
        shape = dict.fromkeys(("ori_shape", "img_shape", "pad_shape"), (SIDE, SIDE))
        sample = SegDataSample(metainfo=dict(img_box=(0, SIDE, 0, SIDE), num_labels=2, **shape))
        label = torch.zeros(num_labels)
        label[[i, i + 2]] = 1
        num_sub = cfg.get("sub_head", {}).get("num_sub", 1)
        truth = torch.randint(0, 3, (1, 1, 6, 6), generator=generator).float()
        truth = torch.nn.functional.interpolate(truth, (SIDE, SIDE))[0].long()
        sample.set_data(
            dict(
                gt_label=label.to(device),
                gt_sub_label=label.repeat_interleave(num_sub).to(device),
                gt_sem_seg=PixelData(data=truth.to(device)),
            )
        )
        samples.append(sample)
    return images.to(device), samples


def _loss(
    name: str,
    device: str,
    phase: str | None,
    dtype: torch.dtype = torch.float32,
    compiled: bool | dict[str, str] = False,
) -> tuple[float, float, list[Tensor]]:
    """Loss of a step, the norm of its gradient, and the gradients."""
    model = _build(name, device).train()
    compile_parts(model, compiled)
    if phase is not None:
        model.set_phase(phase)
    inputs, samples = _batch(name, device)
    kind = torch.device(device).type
    enabled = dtype != torch.float32
    with torch.autocast(kind, torch.bfloat16, enabled=enabled, cache_enabled=False):
        losses = model(inputs, samples, mode="loss")
    loss, _ = model.parse_losses(losses)
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.stack([g.double().norm() for g in gradients]).norm()
    return float(loss.detach()), float(norm), gradients


def run_checks(names: Sequence[str], device: str, work_dir: Path) -> bool:
    """Run checks; a line of JSON for each is added to ``results.jsonl`` in the work dir.

    Args:
        names: of :data:`CHECKS`; none for all.
        device: ``'cuda'``; ``'cpu'`` to rehearse.
        work_dir: folder for what they write.

    Returns:
        Whether none failed.

    Raises:
        ValueError: if there is no such check.
    """
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise ValueError(f"There is no check '{unknown[0]}': choose from {', '.join(CHECKS)}.")
    work_dir.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for name in names or CHECKS:
        print(f"{name}: begins", flush=True)
        found = run_check(name, device, work_dir)
        outcomes.append(found["outcome"])
        with (work_dir / "results.jsonl").open("a") as out:
            out.write(json.dumps(found) + "\n")
        print(f"{name}: {found['outcome']}, {found['seconds']:.1f} s. {found['said']}", flush=True)
    return "failed" not in outcomes
