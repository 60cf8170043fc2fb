"""Pictures of labels, maps and affinities: pure functions on numpy arrays (RGB, uint8)."""

from afa.visualization.grid import grid
from afa.visualization.pictures import (
    draw_cam,
    draw_segments,
    label_areas,
    legend_entries,
    mark_points,
    overlay_cam,
    overlay_label,
    query_points,
)
