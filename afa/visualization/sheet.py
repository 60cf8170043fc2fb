"""What a model makes of some images, side by side: photo, CAMs, label maps of every kind, truth."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from mmcv import imread

from afa.visualization.grid import grid
from afa.visualization.pictures import IGNORE_INDEX, legend_entries, overlay_cam, overlay_label

# Title of a column -> field of the data sample and prefix of its figures.
COLUMNS = {
    "CAM": ("pred_cam", "cam"),
    "PAR": ("pred_par", "par"),
    "propagated": ("pred_propagated", "propagated"),
    "prediction": ("pred_sem_seg", "seg"),
    "truth": ("gt_sem_seg", ""),
}
MAX_CAMS = 3  # in a row


def sample_sheet(
    samples: Sequence[Any],
    metainfo: Mapping[str, Any],
    figures: Mapping[str, float],
    notes: Sequence[str] | None = None,
    cell: int = 160,
) -> np.ndarray:
    """Draw a row for each sample: its photo, and the CAMs and label maps that all samples have.

    Args:
        samples: data samples with label maps, which name their photo (``img_path``), and may have
            ``cams`` (see ``WSSSSegmentor.predict_pseudo_labels``).
        metainfo: ``classes`` and ``palette``.
        figures: the mIoU of each kind of map, such as ``seg/mIoU``, stands in the titles.
        notes: text for each sample, in the place of the names of its classes (image labels, or
            else those of its mask).
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
    num_cams = 0
    if all("cams" in sample for sample in samples):
        num_cams = min(MAX_CAMS, max(len(sample.cams) for sample in samples))
    rows, names, captions, shown = [], [], [], []
    for number, sample in enumerate(samples):
        photo = imread(sample.metainfo["img_path"], channel_order="rgb")
        labels = [sample.get(field).data[0].cpu().numpy() for field in columns.values()]
        shown += labels
        heat = dict(_cams(sample, photo, classes, num_cams)) if num_cams else {}
        blank = [np.full_like(photo, 255)] * (num_cams - len(heat))
        overlays = [overlay_label(photo, label, palette) for label in labels]
        rows.append([photo, *heat.values(), *blank, *overlays])
        captions.append(["", *heat, *[""] * (len(blank) + len(overlays))])
        note = notes[number] if notes else ", ".join(classes[v] for v in _present(sample))
        names.append(f"{sample.metainfo.get('img_id', '')}: {note}")
    heat_titles = ["CAM of a class\n"] * num_cams
    titles = ["photo\n", *heat_titles, *(_title(title, figures) for title in columns)]
    legend = legend_entries(shown, classes, palette)
    return grid(rows, titles, names, legend, cell=cell, captions=captions)


def _present(sample: Any) -> list[int]:
    """List the label values 1..K of an image: its image labels, or else those in its mask."""
    if "gt_label" in sample:
        return [int(index) + 1 for index in sample.gt_label.nonzero()]
    if "gt_sem_seg" in sample:
        return [v for v in sample.gt_sem_seg.data.unique().tolist() if v not in (0, IGNORE_INDEX)]
    return []


def _cams(
    sample: Any, photo: np.ndarray, classes: Sequence[str], number: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Give name with score, and picture, of the CAMs of a sample, those of the best scores."""
    scores = [float(sample.pred_label[value - 1]) for value in sample.cam_values]
    for index in np.argsort(scores)[::-1][:number]:
        name = classes[sample.cam_values[index]]
        cam = sample.cams[index].float().cpu().numpy()
        yield f"{name} {scores[index]:.2f}", overlay_cam(photo, cam)


def _title(title: str, figures: Mapping[str, float]) -> str:
    value = figures.get(f"{COLUMNS[title][1]}/mIoU")
    return f"{title}\n" if value is None else f"{title}\nmIoU {value:.1f}"
