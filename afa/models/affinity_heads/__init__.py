"""Heads that predict affinity between tokens."""

from afa.models.affinity_heads.attention_affinity_head import AttentionAffinityHead
from afa.models.affinity_heads.feature_affinity_head import FeatureAffinityHead

__all__ = ["AttentionAffinityHead", "FeatureAffinityHead"]
