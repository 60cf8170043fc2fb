"""Segmentors."""

from afa.models.segmentors.afa import AFA
from afa.models.segmentors.affinity_net import AffinityNet
from afa.models.segmentors.base import WSSSSegmentor
from afa.models.segmentors.cam_classifier import CAMClassifier, SubCategoryClassifier
from afa.models.segmentors.encoder_decoder import EncoderDecoder
from afa.models.segmentors.multi_scale_tta import MultiScaleTTA
