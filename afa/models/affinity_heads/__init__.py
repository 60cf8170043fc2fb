"""Heads that predict affinity between tokens."""

from afa.models.affinity_heads.attention_affinity_head import AttentionAffinityHead

__all__ = ["AttentionAffinityHead"]
