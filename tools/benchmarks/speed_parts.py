"""The parts of a training step beside their references, as cases to measure.

The model has drawn weights, the images are made up. Sizes are those of AFA on VOC: 2 present
classes, hence 3 masks in a set; a set for each of two background scores, before and after the
random walk, hence 4 sets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from afa.engine.compile_parts import compile_parts
from afa.models.functional import affinity_label, present_classes, windowed_random_walk
from afa.models.functional.pair_affinity import pair_affinity, pair_distances, pair_offsets
from afa.models.functional.pair_walk import (
    chebyshev_weights,
    sparse_transition,
    transition_weights,
)
from afa.models.refiners import PAR
from plain_afa import (
    plain_affinity_label,
    plain_affinity_loss,
    plain_cams,
    plain_dense_energy,
    plain_losses,
    plain_seg_loss,
    train_step,
)
from plain_par import plain_par
from speed_measure import Case

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/_base_/models/afa_mit-b1.py"
NUM_SETS = 4


@dataclass(frozen=True)
class Setup:
    """A model with drawn weights and a batch of made-up images.

    Args:
        model: the segmentor, in training mode.
        inputs: (B, 3, H, W).
        labels: (B, K) multi-hot, two present classes an image.
        samples: what training needs beside the inputs.
        device: where everything is.
        dtype: of autocast; float32 for none.
    """

    model: Any
    inputs: Tensor
    labels: Tensor
    samples: list[SegDataSample]
    device: str
    dtype: torch.dtype

    @property
    def boxes(self) -> list[tuple[int, ...]]:
        """Real image in each crop."""
        return [sample.metainfo["img_box"] for sample in self.samples]

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Mixed precision as :class:`BF16OptimWrapper` has it."""
        enabled = self.dtype != torch.float32
        kind = torch.device(self.device).type
        dtype = self.dtype if enabled else torch.bfloat16
        with torch.autocast(kind, dtype, enabled=enabled, cache_enabled=False):
            yield


def build_setup(
    config: str | None = None,
    crop: int = 320,
    batch: int = 2,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    arch: str | None = None,
    num_classes: int | None = None,
    compiled: bool | dict[str, Any] = False,
) -> Setup:
    """Build a model with drawn weights, and a batch.

    Args:
        config: a config with an AFA ``model``; None for MiT-B1 on VOC.
        crop: side of the images.
        batch: number of images.
        device: where to compute.
        dtype: bfloat16 for mixed precision.
        arch: size of the Mix Transformer, ``'b0'`` to ``'b5'``; None for the config's.
        num_classes: with background; None for the config's.
        compiled: compile backbone and heads; arguments of torch.compile.

    Returns:
        The setup.

    Raises:
        ValueError: if the config has no AFA model, or a number is out of range.
    """
    if crop < 32 or batch < 1:
        raise ValueError(f"crop must be 32 or more and batch 1 or more, got {crop} and {batch}.")
    torch.manual_seed(0)
    model = _build_model(config, arch, num_classes).to(device).train()
    compile_parts(model, compiled)
    num_labels = model.num_classes - 1
    labels = torch.zeros(batch, num_labels)
    for i in range(batch):
        labels[i, [i % num_labels, (i + num_labels // 2) % num_labels]] = 1
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(batch, 3, crop // 8, crop // 8, generator=generator)
    images = nn.functional.interpolate(coarse, (crop, crop), mode="bilinear")
    images += 0.1 * torch.randn(images.shape, generator=generator)
    samples = []
    for label in labels.to(device):
        sample = SegDataSample(metainfo=dict(img_box=(0, crop, 0, crop)))
        sample.set_data(dict(gt_label=label))
        samples.append(sample)
    return Setup(model, images.to(device), labels.to(device), samples, device, dtype)


def _build_model(config: str | None, arch: str | None, num_classes: int | None) -> Any:
    """Build the model of a config without a word about drawn weights."""
    cfg: Any = Config.fromfile(config or ROOT / CONFIG).get("model") or {}
    if cfg.get("type") != "AFA":
        raise ValueError(f"The benchmark needs a config with a model of type 'AFA': '{config}'.")
    cfg.backbone.init_cfg = None
    if arch is not None:
        cfg.backbone.arch = arch
    if num_classes is not None:
        cfg.cls_head.num_classes = cfg.decode_head.num_classes = num_classes
    init_default_scope("mmseg")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        model = MODELS.build(cfg)
        model.init_weights()
    finally:
        logging.disable(before)
    # As after some training, so that the maps differ from class to class.
    model.cls_head.classifier.weight.data.mul_(10)
    return model


def par_case(setup: Setup) -> Case:
    """PAR as a training step uses it: 4 sets of masks of each image."""
    B, _, H, W = setup.inputs.shape
    half, device, num_masks = (H // 2, W // 2), setup.device, 3
    dtype = str(setup.dtype).removeprefix("torch.")
    par = PAR(num_iters=10, dtype=dtype)
    images = F.interpolate(setup.model.rgb_images(setup.inputs), half, mode="bilinear")
    sets = [torch.rand(B, num_masks, *half, device=device) for _ in range(NUM_SETS)]
    size, K, M = B * half[0] * half[1], len(par.offsets), NUM_SETS * num_masks
    width = par.dtype.itemsize
    # Weights written once and read in every iteration, masks read and written in every iteration.
    moved = size * (3 * 4 + K * width * (1 + par.num_iters) + 2 * M * width * par.num_iters)
    operations = size * K * (2 * M * par.num_iters + 3 * 8 + 4)
    return Case(
        f"PAR, {NUM_SETS} sets of {num_masks} masks, {B} images of {half[0]} x {half[1]}",
        lambda: par.refine_sets(sets, par.weights(images)),
        lambda: [plain_par(images, masks) for masks in sets],
        target=(8, 20),
        memory=True,
        work=(moved, operations),
    )


def cams_case(setup: Setup) -> Case:
    """CAMs of a batch over 3 scales and mirror images, with the affinity of the walk."""
    model, inputs = setup.model, setup.inputs
    class_idx = present_classes(setup.labels)

    def ours() -> None:
        with torch.no_grad(), setup.autocast():
            model.cams_and_walk(inputs, class_idx, with_walk=True)

    return Case(
        f"CAMs, 3 scales and mirror images, {_size(setup)}",
        ours,
        lambda: plain_cams(model, inputs, setup.labels),
        target=(2, 3) if setup.dtype == torch.float32 else (5, 8),
        memory=True,
    )


def step_case(setup: Setup) -> Case:
    """A whole training step of the last phase, with backward pass and AdamW."""
    model, inputs, labels, boxes = setup.model, setup.inputs, setup.labels, setup.boxes
    model.set_phase("propagated")
    fused = torch.optim.AdamW(model.parameters(), lr=1e-9, weight_decay=0.01, fused=True)
    usual = torch.optim.AdamW(
        model.parameters(), lr=1e-9, weight_decay=0.01, fused=False, foreach=False
    )

    def ours() -> None:
        with setup.autocast():
            losses = model(inputs, setup.samples, mode="loss")
        train_step(fused, losses)

    return Case(
        f"AFA training step, phase 3, {_size(setup)}",
        ours,
        lambda: train_step(usual, plain_losses(model, inputs, labels, boxes)),
        target=(2, 3) if setup.dtype == torch.float32 else (4, 7),
        memory=True,
        memory_target=(0.6, 0.4),
        budget=60.0,
    )


def walk_case(setup: Setup, grid: tuple[int, int] = (47, 63)) -> Case:
    """AffinityNet's random walk, t = 256, against squaring the dense matrix in float32."""
    steps, num_maps, offsets = 256, 4, pair_offsets(5)
    generator = torch.Generator().manual_seed(0)
    feat = torch.rand(1, 64, *grid, generator=generator)
    affinity = pair_affinity(pair_distances(feat, offsets), offsets).to(setup.device)
    maps = torch.rand(1, num_maps, *grid, generator=generator).to(setup.device)

    def plain() -> None:
        weights = transition_weights(affinity.double(), offsets, 8.0)[0]
        matrix = sparse_transition(weights, offsets).to_dense().float()
        for _ in range(8):
            matrix = matrix @ matrix
        matrix @ maps[0].flatten(1).t()

    products = len(chebyshev_weights(steps)) - 1
    entries = (2 * len(offsets) + 1) * grid[0] * grid[1]
    return Case(
        f"AffinityNet random walk, {grid[0]} x {grid[1]} grid, {num_maps} maps, t = {steps}",
        lambda: windowed_random_walk(maps, affinity, offsets, 8.0, steps),
        plain,
        target=(15, 50),
        work=(products * 16 * entries, products * 2 * num_maps * entries),
        notes=dict(products=products),
    )


def affinity_labels_case(setup: Setup) -> Case:
    """Affinity labels of a batch and their loss, forward and backward."""
    H, W = setup.inputs.shape[2:]
    grid, radius = (H // 16, W // 16), setup.model.train_cfg.radius
    num_tokens = grid[0] * grid[1]
    label = _blocks(setup, 3)
    affinity = torch.rand(len(label), num_tokens, num_tokens, device=setup.device)
    loss = setup.model.affinity_head.loss_aff
    return Case(
        f"Affinity labels and loss, {grid[0]} x {grid[1]} tokens",
        _backward(lambda a: loss(a, affinity_label(label, grid, radius)), affinity),
        _backward(lambda a: plain_affinity_loss(a, plain_affinity_label(label, grid, radius)),
                  affinity),
    )  # fmt: skip


def losses_case(setup: Setup) -> Case:
    """Segmentation loss of a batch, forward and backward."""
    B, _, H, W = setup.inputs.shape
    logits = torch.randn(B, setup.model.num_classes, H // 4, W // 4, device=setup.device)
    label, loss = _blocks(setup, 3), setup.model.decode_head.loss_decode

    def resized(values: torch.Tensor) -> torch.Tensor:
        return F.interpolate(values, (H, W), mode="bilinear", align_corners=False)

    return Case(
        f"Segmentation loss, {setup.model.num_classes} classes",
        _backward(lambda x: loss(resized(x), label), logits),
        _backward(lambda x: plain_seg_loss(resized(x), label), logits),
    )


def regulariser_case(setup: Setup) -> Case:
    """Dense-energy regulariser of a batch, forward and backward, at half resolution."""
    B, _, H, W = setup.inputs.shape
    logits = torch.randn(B, setup.model.num_classes, H // 4, W // 4, device=setup.device)
    images, label = setup.model.rgb_images(setup.inputs), _blocks(setup, 3)
    inside = torch.ones_like(label, dtype=torch.bool)
    loss = MODELS.build(dict(type="DenseEnergyLoss")).to(setup.device)

    def plain(values: torch.Tensor) -> torch.Tensor:
        size = (H // 2, W // 2)
        prob = F.interpolate(values, size, mode="bilinear").softmax(dim=1)
        small = F.interpolate(images, size, mode="bilinear")
        keep = 1 - prob.detach().amax(dim=1)
        every = zip(prob, small, keep, strict=True)
        return torch.stack([plain_dense_energy(*one, 15.0, 50.0) for one in every]).mean()

    return Case(
        f"Dense-energy regulariser, {H // 2} x {W // 2}, against all pairs of pixels",
        _backward(lambda x: loss(x, images, label, inside), logits),
        _backward(plain, logits),
        budget=10.0,
    )


def _size(setup: Setup) -> str:
    B, _, H, _ = setup.inputs.shape
    name = "bf16" if setup.dtype == torch.bfloat16 else "float32"
    return f"MiT-{setup.model.backbone.arch.upper()}, batch {B}, crop {H}, {name}"


def _blocks(setup: Setup, num_labels: int) -> torch.Tensor:
    """Draw a label map (B, H, W) of blocks of 32 pixels, some of them ignored."""
    B, _, H, W = setup.inputs.shape
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randint(0, num_labels + 1, (B, 1, H // 32, W // 32), generator=generator)
    label = F.interpolate(coarse.float(), (H, W), mode="nearest")[:, 0].long()
    return label.masked_fill(label == num_labels, 255).to(setup.device)


def _backward(
    func: Callable[[torch.Tensor], torch.Tensor], values: torch.Tensor
) -> Callable[[], None]:
    """Give a run of a loss and of its gradient with respect to the values."""

    def run() -> None:
        leaf = values.detach().requires_grad_()
        func(leaf).backward()

    return run


CASES: dict[str, Callable[[Setup], Case]] = dict(
    par=par_case,
    cams=cams_case,
    step=step_case,
    walk=walk_case,
    affinity_labels=affinity_labels_case,
    losses=losses_case,
    regulariser=regulariser_case,
)
