"""The model and the batch that the benchmark measures with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

import afa
import afa.models
from afa.engine.compile_parts import compile_parts

CONFIG = "configs/_base_/models/afa_mit-b1.py"
ROOT = Path(afa.__file__).resolve().parent.parent


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
    compiled: bool = False,
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
        compiled: compile backbone and heads.

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
        widths = MODELS.get("MiTAttn")(arch).embed_dims
        cfg.backbone.arch = arch
        cfg.cls_head.in_channels = widths[-1]
        cfg.decode_head.in_channels = list(widths)
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
