"""The same images through every run: labels of training images, segmentation of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from mmseg.registry import DATASETS

from afa.apis.inference import inference_model, init_model
from afa.apis.summary import write_picture
from afa.engine.config.load import read_config_file
from afa.files.label_png import read_label_png
from afa.files.photo import read_photo
from afa.pipelines.run_summary import RunSummary
from afa.pipelines.stage import last_checkpoint
from afa.visualization import overlay_label

Rows = list[dict[str, str]]


def draw_pictures(
    runs: Sequence[RunSummary], out: str | Path, num_images: int = 8
) -> dict[str, Rows]:
    """Draw training images with the labels of each run, and validation images with its network's.

    Args:
        runs: the runs; one without network or labels is left out of the section.
        out: folder of the page; the pictures go into ``pictures/``.
        num_images: images in each section, spread evenly over the set.

    Returns:
        Title of a section to rows for :func:`write_comparison`.
    """
    out = Path(out)
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    networks = [run for run in runs if run.network is not None]
    if not networks:
        return {}
    configs = [_config(run.network) for run in networks]
    labelled = [run for run in runs if run.label_dir is not None]
    sections: dict[str, Rows] = {}
    if labelled:
        readers = [(run.name, _label_reader(run.label_dir)) for run in labelled]
        title = "Labels of training images"
        sections[title] = _rows(configs[0], "train", readers, out, num_images)
    predictors = [
        (run.name, _predictor(cfg, run.network)) for run, cfg in zip(networks, configs, strict=True)
    ]
    title = "Segmentation of validation images"
    sections[title] = _rows(configs[0], "test", predictors, out, num_images)
    return sections


def _config(network: Any) -> Config:
    """Read the config that a training has left in its folder."""
    found = sorted(network.glob("*.py"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(f"'{network}' must have one config file (*.py), found {names}.")
    cfg = read_config_file(found[0])
    if cfg.get("custom_imports"):
        import_modules_from_strings(**cfg.custom_imports)
    init_default_scope(cfg.get("default_scope") or "mmseg")
    return cfg


def _label_reader(folder: Any) -> Callable[[dict], np.ndarray | None]:
    def read(info: dict) -> np.ndarray | None:
        path = folder / "labels" / f"{info['img_id']}.png"
        return read_label_png(path) if path.is_file() else None

    return read


def _predictor(cfg: Config, network: Any) -> Callable[[dict], np.ndarray | None]:
    model = init_model(cfg, last_checkpoint(network))

    def predict(info: dict) -> np.ndarray | None:
        return inference_model(model, info["img_path"]).pred_sem_seg.data[0].cpu().numpy()

    return predict


def _rows(
    cfg: Config,
    split: str,
    labels: Sequence[tuple[str, Callable[[dict], np.ndarray | None]]],
    out: Path,
    num_images: int,
) -> Rows:
    """Draw photo, truth where there is one, and every run's label of some images of a split."""
    dataset = DATASETS.build(cfg[f"{split}_dataloader"].dataset)
    truths = Path(cfg.test_dataloader.dataset.data_root) / (
        cfg.test_dataloader.dataset.data_prefix.get("seg_map_path") or ""
    )
    palette = dataset.metainfo["palette"]
    rows: Rows = []
    for index in np.linspace(0, len(dataset) - 1, min(num_images, len(dataset))):
        info = dataset.get_data_info(int(index))
        photo = np.ascontiguousarray(read_photo(info["img_path"])[..., ::-1])
        truth = truths / f"{info['img_id']}.png"
        cells = {"photo": photo}
        if truth.is_file():
            cells["truth"] = overlay_label(photo, read_label_png(truth), palette)
        for name, label_of in labels:
            label = label_of(info)
            if label is not None:
                cells[name] = overlay_label(photo, label, palette)
        rows.append(
            {
                name: _write(cell, out, f"{split}_{len(rows)}_{number}")
                for number, (name, cell) in enumerate(cells.items())
            }
        )
    return rows


def _write(picture: np.ndarray, out: Path, name: str) -> str:
    write_picture(out / "pictures" / f"{name}.jpg", picture)
    return f"pictures/{name}.jpg"
