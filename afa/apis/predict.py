"""Predict the photos of a folder into files: label maps, overlays, CAMs, and a JSON for each."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import torch
from mmseg.structures import SegDataSample
from torch import nn

from afa.apis.inference import (
    changed_test_cfg,
    check_how,
    class_indices,
    inference_model,
    label_field,
    photo_pipeline,
)
from afa.files.crf import check_crf
from afa.files.label_png import write_label_png
from afa.files.photo import decode_photo, read_photo_bytes, write_picture
from afa.files.photo_search import PhotoFile
from afa.files.whole_file import read_json_object, safe_join, write_json
from afa.models.functional import SEG
from afa.models.segmentors.base import check_makes, label_kinds
from afa.utils.class_names import clean_name
from afa.utils.progress import Progress
from afa.visualization import draw_cam, draw_segments, label_areas

SETTINGS = "predict.json"  # tells a folder of predictions from any other, and how they were made
KINDS = ("labels", "overlays", "cams", "json")


@dataclass(frozen=True)
class PredictOptions:
    """What to make of each photo.

    Args:
        cam: a picture of the CAM of every predicted class; of the best one where there is none.
        classes: names of the classes to draw CAMs of, in place of the predicted ones.
        crf: sharpen the label maps with the dense CRF.
        opacity: weight of the colours in the overlay, 0..1.
        kind: what the label map is made from, see :func:`inference_model`; None for the best that
            the model makes.
        cls_thr: probability above which a class is predicted; None for ``test_cfg.cls_thr``.

    Raises:
        ValueError: if a number is out of range, there is no such kind, it does not go with ``crf``,
            or classes are given without ``cam``.
    """

    cam: bool = False
    classes: tuple[str, ...] | None = None
    crf: bool = False
    opacity: float = 0.5
    kind: str | None = None
    cls_thr: float | None = None

    def __post_init__(self) -> None:
        check_how(self.kind, self.crf)
        if self.cls_thr is not None and not 0 <= self.cls_thr <= 1:
            raise ValueError(f"--cls-thr must be between 0 and 1, got {self.cls_thr:g}.")
        if not 0 <= self.opacity <= 1:
            raise ValueError(f"The opacity must be between 0 and 1, got {self.opacity}.")
        if self.classes is not None and not self.cam:
            raise ValueError("Labels say which CAMs to draw: ask for CAMs (--cam) as well.")


@dataclass
class PredictSummary:
    """What became of the photos: counts, and a sentence for each that was left out.

    ``num_classless`` of those that were done have no class above the threshold; ``note`` says so.
    """

    num_done: int = 0
    num_skipped: int = 0
    num_classless: int = 0
    note: str = ""
    left_out: list[str] = field(default_factory=list)


class _LeftOutError(Exception):
    """Why one photo cannot be predicted."""


def predict_photos(
    model: nn.Module,
    photos: Sequence[PhotoFile],
    out: str | Path,
    options: PredictOptions | None = None,
    overwrite: bool = False,
    report: Callable[[str], Any] | None = None,
) -> PredictSummary:
    """Predict photos, one after the other, and write what is asked for of each.

    Photos whose files are complete are skipped; one that cannot be predicted is left out.

    Args:
        model: what :func:`init_model` gave.
        photos: what :func:`find_photos` gave.
        out: folder for the results, see :class:`PredictionFolder`.
        options: what to make; None for label maps, overlays and JSON.
        overwrite: make again what is there.
        report: called with a sentence for each photo that is left out; None prints it to stderr.

    Returns:
        What became of the photos.

    Raises:
        ValueError: if the folder is refused, or the model cannot make what is asked for.
        OSError: if a file cannot be written.
    """
    options = options or PredictOptions()
    with changed_test_cfg(model, cls_thr=options.cls_thr):
        predictor = _Predictor(model, PredictionFolder(out), options)
        paths = [photo.path for photo in photos]
        predictor.folder.prepare(predictor.settings, paths, overwrite)
        summary, progress = PredictSummary(), Progress(len(photos), "photos")
        for photo in photos:
            try:
                found = predictor.predict(photo, overwrite)
                summary.num_done += found is not None
                summary.num_skipped += found is None
                summary.num_classless += found == []
            except _LeftOutError as error:
                summary.left_out.append(str(error))
                (report or _complain)(str(error))
            progress.step()
    if predictor.cls_thr is None:
        summary.num_classless = 0  # nothing is classified
    if summary.num_classless:
        summary.note = predictor.classless_note(summary.num_classless)
    return summary


def _complain(sentence: str) -> None:
    start = "\n" if sys.stdout.isatty() else ""  # the progress line is unfinished
    print(f"{start}Left out: {sentence}", file=sys.stderr, flush=True)


class _Predictor:
    """Predict photos into a folder, all in the same way."""

    def __init__(self, model: nn.Module, folder: PredictionFolder, options: PredictOptions) -> None:
        if options.cam:
            class_indices(model, options.classes)  # the first photo would be too late to say it
        if options.crf:
            check_crf()
        if options.kind is not None:
            check_makes(model, options.kind)
        self.model = model
        self.folder = folder
        self.options = options
        self.classes: tuple[str, ...] = model.dataset_meta["classes"]
        self.kind = options.kind or next(reversed(label_kinds(model)), None)
        self.cls_thr = getattr(getattr(model, "test_cfg", None), "cls_thr", None)
        made_with = dict(
            kind=self.kind, cls_thr=self.cls_thr, crf=options.crf, opacity=options.opacity
        )
        self.settings = dict(model=_digest(model), classes=list(self.classes), **made_with)

    def predict(self, photo: PhotoFile, overwrite: bool) -> list[str] | None:
        """Predict one photo; give the predicted classes, or None if its files are complete."""
        try:
            data = read_photo_bytes(photo.path)
            digest = hashlib.sha256(data).hexdigest()
            if not overwrite and self._is_complete(photo, digest):
                return None
            image = decode_photo(data, photo.path)
        except ValueError as error:
            raise _LeftOutError(str(error)) from error
        result = self._infer(photo, image)
        place = PurePosixPath(photo.name).with_name(photo.path.name).as_posix()
        record = dict(photo=place, sha256=digest, made_with=self.settings)
        self._write(photo.name, record, image, result)
        return list(record["predicted"])

    def classless_note(self, number: int) -> str:
        """Say what became of photos in which the classifier finds nothing."""
        parts = [f"{number} of them have no class above {self.cls_thr:g}"]
        if self.kind != SEG:
            parts.append("their label maps are all background")
        if self.options.cam and self.options.classes is None:
            parts.append("their CAM is that of the best class")
        return "; ".join(parts) + " (a lower --cls-thr finds more)."

    def _is_complete(self, photo: PhotoFile, digest: str) -> bool:
        found = self.folder.read(photo.name)
        if found.get("made_with") != self.settings:  # none, or what an --overwrite had no time for
            return False
        if found.get("sha256") != digest:
            raise _LeftOutError(
                f"Photo '{photo.path}' is another one than that of the prediction '{photo.name}' "
                f"in '{self.folder.path}': give another folder, or replace it with --overwrite."
            )
        cams, classes = found.get("cams"), self.options.classes
        if not self.options.cam or cams is None:
            return not self.options.cam
        return classes is None or set(map(clean_name, classes)) == set(cams)

    def _infer(self, photo: PhotoFile, image: np.ndarray) -> SegDataSample:
        """Run the model; what fails because of the photo's size must not end the run."""
        options = self.options
        what = f"Photo '{photo.path}' of {image.shape[1]} x {image.shape[0]} pixels"
        try:
            how = (options.cam, options.classes, options.crf, options.kind)
            return inference_model(self.model, image, *how)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise _LeftOutError(
                f"{what} needs more memory than there is: scale it down, or try another device "
                "(--device cpu)."
            ) from error
        except cv2.error as error:
            raise _LeftOutError(
                f"{what} does not pass the test pipeline of the config ({error.err}): ResizeToFit "
                "in place of Resize takes any size."
            ) from error

    def _write(
        self, name: str, record: dict[str, Any], image: np.ndarray, result: SegDataSample
    ) -> None:
        """Write the files of a photo; the record comes last: it says that the others are there."""
        folder, palette = self.folder, self.model.dataset_meta["palette"]
        field = label_field(result)
        label = result.get(field).data[0].to(torch.uint8).cpu().numpy()
        photo = image[..., ::-1]
        record.update(height=label.shape[0], width=label.shape[1], label_map=field)
        record.update(self._figures(result, label))
        folder.remove_cams(name)  # of classes that may be found no more
        record["label"] = folder.write_label(name, label, palette)
        overlay = draw_segments(photo, label, self.classes, palette, self.options.opacity)
        record["overlay"] = folder.write_overlay(name, overlay)
        if self.options.cam:
            record["cams"] = {}
            for cls, cam in zip(result.metainfo["cam_classes"], result.cams, strict=True):
                title = f"{cls}, score {record['scores'][cls]:.2f}"
                if cls not in record["predicted"] and self.options.classes is None:
                    title += f" (none above {self.cls_thr:g})"
                picture = draw_cam(photo, cam.float().cpu().numpy(), title)
                place = folder.write_cam(name, self.classes.index(cls), cls, picture)
                record["cams"][cls] = place
        folder.write_record(name, record)

    def _figures(self, result: SegDataSample, label: np.ndarray) -> dict[str, Any]:
        """Name what was predicted: by the classifier, and by the share of the pixels."""
        classes, areas = self.classes, label_areas(label)
        shares = {classes[i]: round(areas[i] / label.size, 6) for i in np.flatnonzero(areas)}
        if "pred_label" not in result:  # a model that segments only
            found = [name for name in shares if name != classes[0]]
            return dict(predicted=found, pixel_share=shares)
        pairs = zip(classes[1:], result.pred_label.tolist(), strict=True)
        scores = dict(sorted(pairs, key=lambda pair: -pair[1]))
        predicted = [name for name, score in scores.items() if score > self.model.test_cfg.cls_thr]
        rounded = {name: round(score, 4) for name, score in scores.items()}
        return dict(predicted=predicted, scores=rounded, pixel_share=shares)


def _digest(model: nn.Module) -> str:
    """Tell models apart by config, test pipeline and weights."""
    parts = [model.cfg.model, photo_pipeline(model.cfg)]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


class PredictionFolder:
    """Write and find the files of predicted photos.

    ::

        predict.json             how the predictions were made
        labels/NAME.png          label map, indexed PNG at the size of the photo
        overlays/NAME.jpg        photo, colours, names
        cams/NAME/01_CLASS.jpg   photo and CAM, one for each class
        json/NAME.json           figures, and which files there are; written last

    Args:
        path: the folder; need not be there yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def prepare(
        self, settings: Mapping[str, Any], photos: Iterable[Path], overwrite: bool = False
    ) -> None:
        """Make the folder, or refuse one where something could be lost or mixed up.

        Args:
            settings: what must agree among all predictions of a folder.
            photos: the photos to predict.
            overwrite: allow predictions made with other settings.

        Raises:
            ValueError: if it holds the photos, other files in the places of predictions, or
                predictions made with other settings.
        """
        path = self.path
        if path.exists() and not path.is_dir():
            raise ValueError(f"'{path}' is a file: give another folder for the results.")
        real = os.path.realpath(path)
        for photo in photos:
            if os.path.realpath(photo).startswith(real + os.sep):
                raise ValueError(
                    f"The photo '{photo}' lies in '{path}', the folder for the results: give "
                    "another one, so that no photo is overwritten."
                )
        if (path / SETTINGS).is_file():
            made = read_json_object(path / SETTINGS)
            different = [key for key, value in settings.items() if made.get(key) != value]
            if different and not overwrite:
                raise ValueError(
                    f"'{path}' holds predictions made with other settings "
                    f"({', '.join(different)}): give another folder, or replace them with "
                    "--overwrite."
                )
        elif taken := [kind for kind in KINDS if (path / kind).exists()]:
            raise ValueError(
                f"'{path}' has a folder '{taken[0]}', but no {SETTINGS} of an earlier prediction: "
                "give another folder for the results; this one is left as it is."
            )
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / SETTINGS, settings)

    def read(self, name: str) -> dict[str, Any]:
        """Read the record of a photo; empty if there is none, or not all files that it names."""
        record = read_json_object(safe_join(self.path / "json", name, ".json"))
        files = [record.get("label"), record.get("overlay"), *_cams(record).values()]
        whole = all(isinstance(file, str) and (self.path / file).is_file() for file in files)
        return record if whole else {}

    def write_label(self, name: str, label: np.ndarray, palette: Sequence[Sequence[int]]) -> str:
        """Write a label map (H, W) uint8; return its place in the folder."""
        place = self._place("labels", name, ".png")
        write_label_png(self.path / place, label, palette)
        return place

    def write_overlay(self, name: str, picture: np.ndarray) -> str:
        """Write an overlay (H, W, 3) RGB; return its place in the folder."""
        place = self._place("overlays", name, ".jpg")
        write_picture(self.path / place, picture)
        return place

    def write_cam(self, name: str, index: int, class_name: str, picture: np.ndarray) -> str:
        """Write the picture of a class's CAM (H, W, 3) RGB; return its place in the folder."""
        stem = re.sub(r"[^\w.-]+", "_", class_name)  # it may have signs that file names have not
        place = self._place("cams", f"{name}/{index:02d}_{stem}", ".jpg")
        write_picture(self.path / place, picture)
        return place

    def remove_cams(self, name: str) -> None:
        """Remove the pictures of CAMs that the record of a photo names."""
        own = safe_join(self.path / "cams", name)
        record = read_json_object(safe_join(self.path / "json", name, ".json"))
        for place in _cams(record).values():
            (own / Path(str(place)).name).unlink(missing_ok=True)

    def write_record(self, name: str, record: Mapping[str, Any]) -> None:
        """Write the record of a photo whose other files are there."""
        write_json(self.path / self._place("json", name, ".json"), record)

    def _place(self, kind: str, name: str, suffix: str) -> str:
        path = safe_join(self.path / kind, name, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.relative_to(self.path).as_posix()


def _cams(record: Mapping[str, Any]) -> Mapping[str, Any]:
    cams = record.get("cams")
    return cams if isinstance(cams, Mapping) else {}
