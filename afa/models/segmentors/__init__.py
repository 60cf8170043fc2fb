"""Segmentors: the order in which the pieces of a method run."""

from afa.models.segmentors.afa import AFA
from afa.models.segmentors.affinity_net import AffinityNet
from afa.models.segmentors.cam_classifier import CAMClassifier
from afa.models.segmentors.multi_scale_tta import MultiScaleTTA
from afa.models.segmentors.sub_category_classifier import SubCategoryClassifier

__all__ = ["AFA", "AffinityNet", "CAMClassifier", "MultiScaleTTA", "SubCategoryClassifier"]
