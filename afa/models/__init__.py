"""Models; importing this registers them in mmseg's registries."""

from afa.utils.environment import import_mmseg_quietly

import_mmseg_quietly()

from afa.models.affinity_heads import AttentionAffinityHead, FeatureAffinityHead  # noqa: E402
from afa.models.backbones import MiTAttn, ResNet38, VGG16LargeFOV  # noqa: E402
from afa.models.cls_heads import CAMHead, SubCategoryHead  # noqa: E402
from afa.models.decode_heads import (  # noqa: E402
    DeepLabV2Head,
    LargeFOVHead,
    LeanSegformerHead,
    ResNet38SegHead,
)
from afa.models.losses import (  # noqa: E402
    AffinityLoss,
    BalancedCrossEntropyLoss,
    DenseEnergyLoss,
    PairAffinityLoss,
)
from afa.models.refiners import PAR, DenseCRF, Refiner  # noqa: E402
from afa.models.segmentors import (  # noqa: E402
    AFA,
    AffinityNet,
    CAMClassifier,
    MultiScaleTTA,
    SubCategoryClassifier,
    WSSSSegmentor,
)

__all__ = [
    "AFA",
    "PAR",
    "AffinityLoss",
    "AffinityNet",
    "AttentionAffinityHead",
    "BalancedCrossEntropyLoss",
    "CAMClassifier",
    "CAMHead",
    "DeepLabV2Head",
    "DenseCRF",
    "DenseEnergyLoss",
    "FeatureAffinityHead",
    "LargeFOVHead",
    "LeanSegformerHead",
    "MiTAttn",
    "MultiScaleTTA",
    "PairAffinityLoss",
    "Refiner",
    "ResNet38",
    "ResNet38SegHead",
    "SubCategoryClassifier",
    "SubCategoryHead",
    "VGG16LargeFOV",
    "WSSSSegmentor",
]
