"""What remains of a run: a sheet of pictures and a file of figures."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from mmcv import imread
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner

from afa.files.whole_file import write_bytes
from afa.utils.evaluating import evaluating, keep_random_state
from afa.visualization import grid, legend_entries, overlay_label

# Title of a column -> field of the data sample and prefix of its figures.
COLUMNS = {
    "CAM": ("pred_cam", "cam"),
    "PAR": ("pred_par", "par"),
    "affinity-propagated": ("pred_propagated", "propagated"),
    "prediction": ("pred_sem_seg", "seg"),
    "truth": ("gt_sem_seg", ""),
}


def draw_sheet(runner: Runner, metrics: Mapping[str, float], num_images: int = 12) -> np.ndarray:
    """Draw photo, CAM, PAR, propagated label, prediction and truth of some test images.

    Args:
        runner: a runner after its test.
        metrics: its figures; the mIoU of each column stands in its title.
        num_images: number of images, spread evenly over the set.

    Returns:
        (H, W, 3) RGB uint8.
    """
    dataset = runner.test_dataloader.dataset
    classes, palette = dataset.metainfo["classes"], dataset.metainfo["palette"]
    chosen = np.linspace(0, len(dataset) - 1, min(num_images, len(dataset)))
    samples = []
    with keep_random_state(), evaluating(runner.model):
        for index in chosen:
            samples += runner.model.test_step(pseudo_collate([dataset[int(index)]]))
    columns = {
        title: field
        for title, (field, _) in COLUMNS.items()
        if all(field in sample for sample in samples)
    }
    rows, names, shown = [], [], []
    for sample in samples:
        photo = imread(sample.metainfo["img_path"], channel_order="rgb")
        labels = [sample.get(field).data[0].cpu().numpy() for field in columns.values()]
        shown += labels
        rows.append([photo, *(overlay_label(photo, label, palette) for label in labels)])
        present = [classes[value] for value in np.unique(labels[-1]) if 0 < value < len(classes)]
        names.append(f"{sample.metainfo.get('img_id', '')}: {', '.join(present)}")
    titles = ["photo\n", *(_title(title, metrics) for title in columns)]
    return grid(rows, titles, names, legend_entries(shown, classes, palette), cell=160)


def _title(title: str, metrics: Mapping[str, float]) -> str:
    value = metrics.get(f"{COLUMNS[title][1]}/mIoU")
    return f"{title}\n" if value is None else f"{title}\nmIoU {value:.1f}"


def write_picture(path: str | Path, image: np.ndarray) -> None:
    """Write an RGB picture as PNG or JPEG.

    Raises:
        ValueError: if the file's name ends in anything else.
        OSError: if the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"A picture is written as .png or .jpg, got '{path}'.")
    done, encoded = cv2.imencode(suffix, image[..., ::-1])
    assert done, f"OpenCV could not encode a {suffix}"
    write_bytes(path, encoded.tobytes())


def device_name() -> str:
    """Name what the run computes on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU ({threads} thread{'s' if threads > 1 else ''})"
