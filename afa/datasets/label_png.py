"""Label maps as indexed PNG, for data sets.

The functions stand in :mod:`afa.utils.label_png`: worker processes that need them do not have to
import the data sets, and mmseg with them.
"""

from afa.utils.label_png import bit_palette, is_whole_label_png, read_label_png, write_label_png

__all__ = ["bit_palette", "is_whole_label_png", "read_label_png", "write_label_png"]
