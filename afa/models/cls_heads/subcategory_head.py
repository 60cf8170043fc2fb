"""Classifier of sub-categories (SC-CAM).

Chang et al., CVPR 2020: beside the classifier of the K classes, one of the K * K_sub sub-categories
that clustering has found, on the same features. B images, h w tokens.
"""

from mmseg.registry import MODELS
from torch import Tensor

from afa.models.cls_heads.cam_head import CAMHead


@MODELS.register_module()
class SubCategoryHead(CAMHead):
    """Classify sub-categories: a :class:`CAMHead` with ``num_sub`` outputs for each class.

    Output k * num_sub + s stands for sub-category s of foreground class k. What no image has only
    learns to stay low.

    Args:
        in_channels: channels of the feature map.
        num_classes: number of classes including background.
        num_sub: sub-categories of each class, K_sub; 10 in the paper.
        pooling: see :class:`CAMHead`.
        loss_weight: lambda, factor of the loss beside that of the classes; 5 in the paper.
        bias: give the classifier a bias.
        dropout_ratio: see :class:`CAMHead`.
        init_cfg: mmengine initialisation.

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
        bias: bool = False,
        dropout_ratio: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        if num_classes < 2 or num_sub < 1:
            raise ValueError(
                "SubCategoryHead: num_classes counts the background too and must be at least 2, "
                f"num_sub at least 1, got {num_classes} and {num_sub}"
            )
        super().__init__(
            in_channels,
            (num_classes - 1) * num_sub + 1,
            pooling=pooling,
            loss_weight=loss_weight,
            bias=bias,
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg,
        )
        self.num_sub = num_sub

    def loss(self, cls_logits: Tensor, labels: Tensor) -> Tensor:
        """Multi-label soft margin loss, times lambda.

        Args:
            cls_logits: (B, K * num_sub).
            labels: (B, K * num_sub) multi-hot; none set where an image does not have the class.

        Returns:
            Scalar.

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
