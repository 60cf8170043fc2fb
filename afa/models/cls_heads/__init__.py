"""Classification heads that give class activation maps."""

from afa.models.cls_heads.cam_head import CAMHead

__all__ = ["CAMHead"]
