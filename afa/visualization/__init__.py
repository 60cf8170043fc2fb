"""Pictures of labels, maps and affinities: pure functions on numpy arrays (RGB, uint8)."""

from afa.visualization.grid import grid, legend_entries
from afa.visualization.overlays import heatmap, mark_points, overlay_label
from afa.visualization.queries import query_points

__all__ = ["grid", "heatmap", "legend_entries", "mark_points", "overlay_label", "query_points"]
