"""Pictures of labels, maps and affinities: pure functions on numpy arrays (RGB, uint8)."""

from afa.visualization.cam_picture import draw_cam
from afa.visualization.grid import grid, legend_entries
from afa.visualization.overlays import heatmap, mark_points, overlay_label
from afa.visualization.queries import inmost_pixel, query_points
from afa.visualization.segments import draw_segments

__all__ = [
    "draw_cam",
    "draw_segments",
    "grid",
    "heatmap",
    "inmost_pixel",
    "legend_entries",
    "mark_points",
    "overlay_label",
    "query_points",
]
