"""What a model makes of some images, side by side: photo, label maps of every kind, truth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmcv import imread

from afa.visualization.grid import grid
from afa.visualization.pictures import legend_entries, overlay_label

# Title of a column -> field of the data sample and prefix of its figures.
COLUMNS = {
    "CAM": ("pred_cam", "cam"),
    "PAR": ("pred_par", "par"),
    "propagated": ("pred_propagated", "propagated"),
    "prediction": ("pred_sem_seg", "seg"),
    "truth": ("gt_sem_seg", ""),
}


def sample_sheet(
    samples: Sequence[Any],
    metainfo: Mapping[str, Any],
    figures: Mapping[str, float],
    notes: Sequence[str] | None = None,
    cell: int = 160,
) -> np.ndarray:
    """Draw a row for each sample: its photo and the label maps that all samples have.

    Args:
        samples: data samples with label maps, which name their photo (``img_path``).
        metainfo: ``classes`` and ``palette``.
        figures: the mIoU of each kind of map, such as ``seg/mIoU``, stands in the titles.
        notes: text for each sample, in the place of the names of its classes.
        cell: width of a picture in pixels.

    Returns:
        (H, W, 3) RGB uint8.
    """
    classes, palette = metainfo["classes"], metainfo["palette"]
    columns = {
        title: field
        for title, (field, _) in COLUMNS.items()
        if all(field in sample for sample in samples)
    }
    rows, names, shown = [], [], []
    for number, sample in enumerate(samples):
        photo = imread(sample.metainfo["img_path"], channel_order="rgb")
        labels = [sample.get(field).data[0].cpu().numpy() for field in columns.values()]
        shown += labels
        rows.append([photo, *(overlay_label(photo, label, palette) for label in labels)])
        present = [classes[v] for v in np.unique(labels[-1:]) if 0 < v < len(classes)]
        note = notes[number] if notes else ", ".join(present)
        names.append(f"{sample.metainfo.get('img_id', '')}: {note}")
    titles = ["photo\n", *(_title(title, figures) for title in columns)]
    return grid(rows, titles, names, legend_entries(shown, classes, palette), cell=cell)


def _title(title: str, figures: Mapping[str, float]) -> str:
    value = figures.get(f"{COLUMNS[title][1]}/mIoU")
    return f"{title}\n" if value is None else f"{title}\nmIoU {value:.1f}"
