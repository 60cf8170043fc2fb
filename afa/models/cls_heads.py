"""Image classifiers whose weights give class activation maps.

Zhou et al., CVPR 2016; global max pooling as in AFA (Ru et al., CVPR 2022), section 4.3, where
average and top-k pooling are the ablation. AffinityNet (Ahn & Kwak, CVPR 2018) pools by average.
SC-CAM (Chang et al., CVPR 2020) adds a classifier of sub-categories. B images, K foreground
classes, h w tokens.
"""

from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

POOLINGS = ("max", "avg", "topk", "map")


@MODELS.register_module()
class CAMHead(BaseModule):
    """Pool, then classify with a 1x1 convolution.

    Args:
        in_channels: channels of the feature map.
        num_classes: number of classes including background; the head has ``num_classes - 1``
            outputs.
        pooling: ``'max'`` (AFA), ``'avg'`` or ``'topk'`` (mean of the largest values of a channel);
            ``'map'`` classifies every token and takes the maximum of the class maps. That is ours:
            the other three let a logit add up channels of different tokens, so that nothing keeps
            a single token of the background low.
        topk: share of the tokens that ``'topk'`` averages, in (0, 1].
        loss_weight: factor of the multi-label soft margin loss.
        bias: give the classifier a bias, which class maps leave out. The paper has none; from
            scratch it keeps "no class" out of the features, and so out of the maps.
        dropout_ratio: share of the channels dropped before the pooling, in [0, 1); class maps drop
            nothing. 0.5 in AffinityNet's program.
        hidden_channels: None, or channels of a 3x3 convolution and ReLU in front of everything:
            512 in AffinityNet's paper; its program has none.
        init_cfg: mmengine initialisation; None for torch's own, as in the AFA program.

    Raises:
        ValueError: if an argument is outside its range.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        pooling: str = "max",
        topk: float = 0.25,
        loss_weight: float = 1.0,
        bias: bool = False,
        dropout_ratio: float = 0.0,
        hidden_channels: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if pooling not in POOLINGS:
            raise ValueError(f"CAMHead: pooling must be one of {POOLINGS}, got {pooling!r}")
        if num_classes < 2:
            raise ValueError(
                f"CAMHead: num_classes counts the background too and must be at least 2, "
                f"got {num_classes}"
            )
        if not 0 < topk <= 1:
            raise ValueError(f"CAMHead: topk is a share of the tokens in (0, 1], got {topk}")
        if not 0 <= dropout_ratio < 1:
            raise ValueError(f"CAMHead: dropout_ratio is a share in [0, 1), got {dropout_ratio}")
        self.pooling = pooling
        self.topk = topk
        self.loss_weight = loss_weight
        self.dropout = nn.Dropout2d(dropout_ratio)
        self.hidden = None
        if hidden_channels is not None:
            self.hidden = nn.Sequential(nn.Conv2d(in_channels, hidden_channels, 3, 1, 1), nn.ReLU())
            in_channels = hidden_channels
        self.classifier = nn.Conv2d(in_channels, num_classes - 1, 1, bias=bias)

    def embed(self, feat: Tensor) -> Tensor:
        """Give the features that are classified, (B, C', h, w), for features (B, C, h, w)."""
        return feat if self.hidden is None else self.hidden(feat)

    def pool(self, feat: Tensor) -> Tensor:
        """Pool (B, C, h, w) features over the tokens to (B, C, 1, 1)."""
        tokens = feat.flatten(2)
        if self.pooling == "max":
            pooled = tokens.amax(dim=2)
        elif self.pooling == "avg":
            pooled = tokens.mean(dim=2)
        else:
            num_top = max(1, round(self.topk * tokens.shape[2]))
            pooled = tokens.topk(num_top, dim=2).values.mean(dim=2)
        return pooled[:, :, None, None]

    def image_features(self, feat: Tensor) -> Tensor:
        """Describe each image by one vector, as the classifier pools it: (B, C, h, w) to (B, C').

        With ``pooling='map'``, which pools no features, the mean of the ``topk`` share.
        """
        return self.pool(self.embed(feat)).flatten(1)

    def forward(self, feat: Tensor) -> Tensor:
        """Give class logits (B, K) for features (B, C, h, w)."""
        feat = self.dropout(self.embed(feat))
        if self.pooling == "map":
            return self.classifier(feat).flatten(2).amax(dim=2)
        return self.classifier(self.pool(feat)).flatten(1)

    def class_maps(self, feat: Tensor) -> Tensor:
        """Give raw class maps (B, K, h, w), before ReLU, for features (B, C, h, w)."""
        return F.conv2d(self.embed(feat), self.classifier.weight)

    def loss(self, cls_logits: Tensor, labels: Tensor) -> Tensor:
        """Multi-label soft margin loss of logits (B, K) and multi-hot labels (B, K)."""
        loss = F.multilabel_soft_margin_loss(cls_logits.float(), labels.float())
        return self.loss_weight * loss


@MODELS.register_module()
class SubCategoryHead(CAMHead):
    """Classify sub-categories: a :class:`CAMHead` with ``num_sub`` outputs for each class.

    SC-CAM: next to the classifier of the K classes, one of the K * K_sub sub-categories that
    clustering has found, on the same features. Output k * num_sub + s stands for sub-category s of
    foreground class k. What no image has only learns to stay low.

    Args:
        in_channels: channels of the feature map.
        num_classes: number of classes including background.
        num_sub: sub-categories of each class, K_sub; 10 in the paper.
        loss_weight: lambda, factor of the loss beside that of the classes; 5 in the paper.
        pooling: see :class:`CAMHead`.
        **kwargs: further arguments of :class:`CAMHead`.

    Raises:
        ValueError: if an argument is outside its range.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        num_sub: int = 10,
        pooling: str = "avg",
        loss_weight: float = 5.0,
        **kwargs: Any,
    ) -> None:
        if num_classes < 2 or num_sub < 1:
            raise ValueError(
                "SubCategoryHead: num_classes counts the background too and must be at least 2, "
                f"num_sub at least 1, got {num_classes} and {num_sub}"
            )
        num_outputs = (num_classes - 1) * num_sub
        super().__init__(
            in_channels, num_outputs + 1, pooling=pooling, loss_weight=loss_weight, **kwargs
        )
        self.num_sub = num_sub

    def loss(self, cls_logits: Tensor, labels: Tensor) -> Tensor:
        """Multi-label soft margin loss, times lambda.

        Args:
            cls_logits: (B, K * num_sub).
            labels: (B, K * num_sub) multi-hot; none set where an image does not have the class.

        Raises:
            ValueError: if the labels have another number of sub-categories.
        """
        if labels.shape != cls_logits.shape:
            raise ValueError(
                f"SubCategoryHead has {cls_logits.shape[1]} sub-categories in all, but the labels "
                f"(gt_sub_label) have {labels.shape[1]}: num_sub and num_classes of the head must "
                "be those of the data set"
            )
        return super().loss(cls_logits, labels)
