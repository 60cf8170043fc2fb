"""Classification heads that give class activation maps."""

from afa.models.cls_heads.cam_head import CAMHead
from afa.models.cls_heads.subcategory_head import SubCategoryHead

__all__ = ["CAMHead", "SubCategoryHead"]
