"""Test-time augmentation over scales and mirror images that adds up as it goes.

AFA (Ru et al., CVPR 2022) tests at 0.5, 0.75, 1, 1.25 and 1.5 of the input with mirror images: the
mean of the logits over image and mirror image, the maximum over scales. B images, C classes, H W
of the network's input.

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

from afa.models.segmentors.write_result import SEG_LOGITS, write_result
from afa.models.utils import resize_images

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
        samples = data.get("data_samples")
        logits = self.merged_logits(data["inputs"])
        return write_result(logits, samples, self.module.align_corners, self.seg_logits)

    @torch.no_grad()
    def merged_logits(self, inputs: Tensor) -> Tensor:
        """Merge the logits of all scales.

        Args:
            inputs: (B, 3, H, W) network inputs.

        Returns:
            (B, C, H, W).
        """
        merged: Tensor | None = None
        for scale in self.scales:
            logits = self._logits(resize_images(inputs, scale), inputs.shape[2:])
            if merged is None:
                merged = logits
            elif self.merge == "max":
                torch.maximum(merged, logits, out=merged)
            else:
                merged += logits
        assert merged is not None, "there is at least one scale"
        return merged / len(self.scales) if self.merge == "mean" else merged

    def _logits(self, images: Tensor, size: Sequence[int]) -> Tensor:
        """Logits of one scale, resized to (B, C, H, W); the mean over image and mirror image."""
        logits = self._segment(torch.cat([images, images.flip(3)]) if self.flip else images)
        if self.flip:
            plain, mirrored = logits.chunk(2)
            logits = (plain + mirrored.flip(3)) / 2
        return F.interpolate(
            logits, size=tuple(size), mode="bilinear", align_corners=self.module.align_corners
        )

    def _segment(self, images: Tensor) -> Tensor:
        """Logits at the size of the images; of mmseg's models with sliding windows if set."""
        shape = images.shape[2:]
        metas = [dict(ori_shape=shape, img_shape=shape, pad_shape=shape) for _ in images]
        segment = getattr(self.module, "inference", self.module.encode_decode)
        return segment(images, metas)

    def merge_preds(self, data_samples_list: Any) -> Any:
        """Refuse: mmengine asks for this method, but test_step has merged already."""
        raise NotImplementedError("MultiScaleTTA merges in test_step.")
