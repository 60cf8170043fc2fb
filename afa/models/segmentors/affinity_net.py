"""AffinityNet: learn from sure pixels which neighbours belong together.

Ahn and Kwak, "Learning Pixel-level Semantic Affinity with Image-level Supervision for Weakly
Supervised Semantic Segmentation", CVPR 2018. B images, H W pixels, M maps, h w token grid of the
head (stride 8 with ResNet38), P offsets of token pairs.
"""

from typing import Any

import torch
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from afa.models.functional.pair_affinity import pair_label
from afa.models.functional.pair_walk import windowed_random_walk
from afa.models.head_channels import with_channels


@MODELS.register_module()
class AffinityNet(BaseSegmentor):
    """Predict the affinity of neighbouring tokens and spread maps along it.

    The call chain::

        loss:     backbone -> affinity_head.distances -> loss_aff, with pair labels of gt_sem_seg
        predict:  backbone -> affinity_head -> pred_affinity (P, h, w) of each data sample
        tensor:   backbone -> affinity_head -> affinity (B, P, h, w)

    and, by name, ``propagate(maps, affinity(inputs))``: the random walk.

    Args:
        backbone: config of a backbone that gives several levels.
        affinity_head: config of :class:`FeatureAffinityHead`.
        beta: exponent of the affinity in the random walk.
        num_steps: t, how often the transition is applied; 2 to the power 8 in the paper.
        ignore_index: neutral label, from which nothing is learned.
        data_preprocessor: mmseg's SegDataPreProcessor.
        init_cfg: mmengine initialisation.

    Raises:
        ValueError: if beta or the number of steps is outside its range, or the head does not fit
            the backbone.
    """

    def __init__(
        self,
        backbone: dict,
        affinity_head: dict,
        beta: float = 8.0,
        num_steps: int = 256,
        ignore_index: int = 255,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if beta <= 0 or num_steps < 0:
            raise ValueError(
                "AffinityNet: beta must be above 0 and num_steps 0 or more, "
                f"got {beta} and {num_steps}"
            )
        self.backbone = MODELS.build(backbone)
        head = with_channels(affinity_head, "model.affinity_head", self.backbone)
        self.affinity_head = MODELS.build(head)
        self.beta = beta
        self.num_steps = num_steps
        self.ignore_index = ignore_index

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Give the levels of the backbone for (B, 3, H, W)."""
        return self.backbone(inputs)

    def affinity(self, inputs: Tensor) -> Tensor:
        """Give the affinity (B, P, h, w) of token pairs, 0..1, for network inputs (B, 3, H, W)."""
        return self.affinity_head(self.extract_feat(inputs))

    def propagate(self, maps: Tensor, affinity: Tensor) -> Tensor:
        """Walk ``num_steps`` steps along the affinity.

        Args:
            maps: (B, M, h, w) maps, background included, at the grid of the affinity.
            affinity: (B, P, h, w) of the same images.

        Returns:
            (B, M, h, w) float32.

        Raises:
            ValueError: if the grids differ.
        """
        return windowed_random_walk(
            maps, affinity, self.affinity_head.offsets, self.beta, self.num_steps
        )

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Compute the loss of the affinity.

        Args:
            inputs: (B, 3, H, W) network inputs.
            data_samples: with ``gt_sem_seg`` (1, H, W): 0 background, 1..K foreground,
                ``ignore_index`` neutral and padding.

        Returns:
            ``loss_aff``.

        Raises:
            ValueError: if a sample has no label map.
        """
        if not all("gt_sem_seg" in sample for sample in data_samples):
            raise ValueError(
                "training AffinityNet needs a label map of sure pixels for every photo "
                "(gt_sem_seg): set data_prefix.seg_map_path to the affinity labels and put "
                "LoadAnnotations into the pipeline"
            )
        label_map = torch.cat([sample.gt_sem_seg.data for sample in data_samples])  # (B, H, W)
        distances = self.affinity_head.distances(self.extract_feat(inputs))
        label = pair_label(
            label_map, distances.shape[2:], self.affinity_head.offsets, self.ignore_index
        )
        return dict(loss_aff=self.affinity_head.loss_aff(distances, label))

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Write ``pred_affinity`` (P, h, w) into the data samples (new ones if there are none).

        The grid is that of the inputs, padding included: give images of one size.
        """
        affinity = self.affinity(inputs)
        if data_samples is None:
            data_samples = [SegDataSample() for _ in affinity]
        for sample, one in zip(data_samples, affinity, strict=True):
            sample.set_data(dict(pred_affinity=one))
        return data_samples

    def encode_decode(self, inputs: Tensor, batch_data_samples: Any = None) -> Tensor:
        """Give the affinity (B, P, h, w); there are no segmentation logits."""
        return self.affinity(inputs)

    _forward = encode_decode  # mode='tensor'
