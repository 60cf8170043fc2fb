"""Models; importing this registers them in mmseg's registries."""

from afa.utils.environment import import_mmseg_quietly

import_mmseg_quietly()

from afa.models.affinity_heads import AttentionAffinityHead, FeatureAffinityHead
from afa.models.backbones import MiTAttn, ResNet38, TimmCNN, TimmViT, VGG16LargeFOV
from afa.models.cls_heads import CAMHead, SubCategoryHead
from afa.models.decode_heads import DeepLabV2Head, LargeFOVHead, LeanSegformerHead, ResNet38SegHead
from afa.models.losses import (
    AffinityLoss,
    BalancedCrossEntropyLoss,
    DenseEnergyLoss,
    PairAffinityLoss,
)
from afa.models.refiners import PAR, DenseCRF, Refiner
from afa.models.segmentors import (
    AFA,
    AffinityNet,
    CAMClassifier,
    EncoderDecoder,
    MultiScaleTTA,
    SubCategoryClassifier,
    WSSSSegmentor,
)
