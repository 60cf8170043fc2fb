"""Test-time augmentation over scales and mirror images that adds up as it goes.

AFA (Ru et al., CVPR 2022) tests at 0.5, 0.75, 1, 1.25 and 1.5 of the input with mirror images: the
mean of the logits over image and mirror image, the maximum over scales, both on the grid of the
logits at scale 1. B images, C classes, H W of the network's input, h w of that grid.

Different from mmseg's SegTTAModel: no tta_pipeline is needed, the network's input itself is
resized, logits are merged and not probabilities, and only the merged logits are kept, never those
of all augmentations.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from afa.models.functional import resize_images, scale_size
from afa.models.segmentors.base import SEG_LOGITS, segment, write_result

MERGES = ("max", "mean")


@MODELS.register_module()
class MultiScaleTTA(BaseTTAModel):
    """Segment with a model at several scales, with mirror images, and merge the logits.

    Only the segmentation is computed: no ``pred_label`` and no labels from CAMs, whose recipes have
    their own scales.

    Args:
        module: a segmentor (AFA, mmseg's EncoderDecoder) or its config.
        scales: factors of the network's input.
        flip: whether the mirror image is segmented too, at each scale.
        merge: ``'max'`` or ``'mean'`` over scales; over image and mirror image always the mean.
        seg_logits: which logits the results carry, see :func:`write_result`.
        data_preprocessor: that of the module, if it has none.

    Raises:
        ValueError: if a setting is out of range, or the model has one output channel.
    """

    def __init__(
        self,
        module: dict | nn.Module,
        scales: Sequence[float] = (0.5, 0.75, 1.0, 1.25, 1.5),
        flip: bool = True,
        merge: str = "max",
        seg_logits: str | None = None,
        data_preprocessor: dict | nn.Module | None = None,
    ) -> None:
        super().__init__(module, data_preprocessor)
        if not scales or min(scales) <= 0:
            raise ValueError(f"tta.scales must be factors above 0, got {scales}: use e.g. (1.0,)")
        if merge not in MERGES:
            raise ValueError(f"tta.merge must be one of {', '.join(MERGES)}, got '{merge}'")
        if seg_logits not in SEG_LOGITS:
            raise ValueError(f"tta.seg_logits must be one of {SEG_LOGITS}, got {seg_logits!r}")
        if getattr(self.module, "out_channels", 2) < 2:
            raise ValueError(
                "MultiScaleTTA merges logits of two classes or more, but the model has one output "
                "channel: write a tta_model of your own"
            )
        self.scales = tuple(float(scale) for scale in scales)
        self.flip = flip
        self.merge = merge
        self.seg_logits = seg_logits

    @torch.no_grad()
    def test_step(self, data: Any) -> list[SegDataSample]:
        """Segment a batch of a data loader.

        Args:
            data: dict with ``inputs`` and ``data_samples``, as for one scale.

        Returns:
            The data samples with ``pred_sem_seg`` at the size of the photos.
        """
        data = self.module.data_preprocessor(data, False)
        inputs, samples = data["inputs"], data.get("data_samples")
        logits = self.merged_logits(inputs)
        corners = self.module.align_corners
        return write_result(logits, samples, corners, self.seg_logits, inputs.shape[2:])

    @torch.no_grad()
    def merged_logits(self, inputs: Tensor) -> Tensor:
        """Merge the logits of all scales.

        Args:
            inputs: (B, 3, H, W) network inputs.

        Returns:
            (B, C, h, w): on the grid of the head at scale 1 where the model has ``head_logits``, as
            AFA does; at the size of the inputs for mmseg's models.
        """
        combine = torch.maximum if self.merge == "max" else torch.add
        merged: Tensor | None = None
        grid: tuple[int, int] | None = None
        for scale in sorted(self.scales, key=lambda scale: scale != 1):  # scale 1 first
            logits = self._logits(_resize(inputs, scale))
            if grid is None:
                grid = scale_size(logits.shape[2:], 1 / scale, round)
            if logits.shape[2:] != grid:
                logits = F.interpolate(
                    logits, size=grid, mode="bilinear", align_corners=self.module.align_corners
                )
            if self.flip:
                plain, mirrored = logits.chunk(2)
                logits = (plain + mirrored.flip(3)) / 2
            merged = logits if merged is None else combine(merged, logits)
        assert merged is not None, "there is at least one scale"
        return merged / len(self.scales) if self.merge == "mean" else merged

    def _logits(self, images: Tensor) -> Tensor:
        """Logits of images and, behind them, of their mirror images."""
        images = torch.cat([images, images.flip(3)]) if self.flip else images
        meta = dict.fromkeys(("ori_shape", "img_shape", "pad_shape"), images.shape[2:])
        return segment(self.module, images, [dict(meta) for _ in images])

    def merge_preds(self, data_samples_list: Any) -> Any:
        """Refuse: mmengine asks for this method, but test_step has merged already."""
        raise NotImplementedError("MultiScaleTTA merges in test_step.")


def _resize(images: Tensor, scale: float) -> Tensor:
    """Resize by a factor that also says where pixels are read, whatever the sides are cut to."""
    if min(images.shape[2:]) * scale < 1:
        return resize_images(images, scale)
    if scale == 1:
        return images
    return F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)
