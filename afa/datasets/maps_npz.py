"""Maps of one image as a compressed array file, for data sets.

The functions stand in :mod:`afa.utils.maps_npz`: worker processes that need them do not have to
import the data sets, and mmseg with them.
"""

from afa.utils.maps_npz import ImageMaps, is_whole_maps, read_maps, write_maps

__all__ = ["ImageMaps", "is_whole_maps", "read_maps", "write_maps"]
