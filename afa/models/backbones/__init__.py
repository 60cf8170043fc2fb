from afa.models.backbones.mit_attn import MiTAttn

__all__ = ["MiTAttn"]
