"""Folders of label maps and of kept maps: what lies where, what must not be mixed, what is written.

Neither torch nor mmseg is imported here, so that the worker processes that finish label maps are
light. L labels that an image can have, H W pixels of the photo, h w of the maps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from afa.files.crf import CRFSettings, best_label, crf_of_logits, crf_of_shares
from afa.files.label_png import is_whole_label_png, write_label_png
from afa.files.maps import ImageMaps, is_whole_maps, read_counts, read_maps, write_maps
from afa.files.whole_file import read_json_object, safe_join, write_json
from afa.utils.home import run_text
from afa.utils.hub import local_path

UNDECIDED = 255
SETTINGS, SUMMARY, PLOT = "settings.json", "summary.json", "sweep.png"
_INITIAL = ("init_cfg", "pretrained")  # what a network begins with


def config_digest(node: Any) -> str:
    """Digest a part of a config; initial weights do not count."""
    text = json.dumps(_without_init(node), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _without_init(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _without_init(value) for key, value in node.items() if key not in _INITIAL}
    return [_without_init(item) for item in node] if isinstance(node, (list, tuple)) else node


def content_digests(
    pipeline: Any, checkpoint: str | Path | None = None, model: Any = None
) -> dict[str, str]:
    """Say what decides the content of the files of a stage, as entries of its settings.

    Args:
        pipeline: the test pipeline that the photos go through.
        checkpoint: the checkpoint of the network; None without a network.
        model: ``model`` of its config.
    """
    digests = dict(test_pipeline=config_digest(pipeline))
    if checkpoint is not None:
        path = local_path(checkpoint)
        digests["checkpoint"] = f"{path.name}, sha256 {_file_digest(path)}"
        digests["model"] = config_digest(model)
    return digests


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:16]


def read_settings(folder: Path) -> dict[str, Any]:
    """Read how the files of a folder were made; empty where it is not known."""
    return read_json_object(folder / SETTINGS)


def settings_changed(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Name the settings in which two differ, with both values; empty where they are the same."""
    return ", ".join(
        f"{name} was {_short(found.get(name))}, now {_short(wanted.get(name))}"
        for name in {**found, **wanted}
        if found.get(name) != wanted.get(name)
    )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class GuardedFolder:
    """A folder of one tool; ``settings.json`` says what decides the content of its files.

    Files of other settings are refused, or replaced on demand; those of others are left alone.

    Args:
        path: the folder; need not be there yet.
    """

    folders: ClassVar[Mapping[str, str]]  # sub-folders, and the suffix of their files
    figures: ClassVar[Sequence[str]] = ()  # files that go when those of the sub-folders go
    holds: ClassVar[str]  # what to say of files that other settings have made

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def prepare(self, settings: Mapping[str, Any], overwrite: bool = False) -> None:
        """Make the folder, or refuse one where something could be lost or mixed up.

        Args:
            settings: what decides the content of the files; ``tool`` is the tool's name.
            overwrite: remove the files that are there first.

        Raises:
            ValueError: if it holds files made with other settings, or files of something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"'{self.path}' is a file: give another folder with --out.")
        found = read_settings(self.path)
        ours = found.get("tool") == settings["tool"]
        taken = [name for name in self.folders if (self.path / name).exists()]
        if taken and not ours:
            raise ValueError(
                f"'{self.path}' has a folder '{taken[0]}', but no {SETTINGS} of this tool: give "
                "another folder with --out; this one is left as it is."
            )
        changed = settings_changed(found, settings)
        if ours and changed and not overwrite:
            raise ValueError(
                f"'{self.path}' holds {self.holds.format(changed=changed)}: give another folder "
                "with --out, or replace them with --overwrite."
            )
        if ours and overwrite:
            self._clear()
        for name in self.folders:
            (self.path / name).mkdir(parents=True, exist_ok=True)
        write_json(self.path / SETTINGS, settings)

    def _clear(self) -> None:
        """Remove the files; the settings stay until others replace them."""
        for name, suffix in self.folders.items():
            for path in (self.path / name).rglob(f"*{suffix}"):
                path.unlink()
        for name in self.figures:
            (self.path / name).unlink(missing_ok=True)


class LabelFolder(GuardedFolder):
    """Name and find the files of label maps.

    ::

        settings.json      how the labels were made
        labels/ID.png      label map, indexed PNG at the size of the photo; written last
        maps/ID.npz        maps, where asked for
        sweep/ID.npz       what the image counts at each background score, where asked for
        summary.json       figures; sweep.png: their plot
    """

    folders = {"labels": ".png", "maps": ".npz", "sweep": ".npz"}
    figures = (SUMMARY, PLOT)
    holds = "labels that were made with other settings ({changed})"

    def file(self, kind: str, img_id: str) -> Path:
        """Name the file of an image in one of ``folders``.

        Raises:
            ValueError: if the id would lead out of the folder.
        """
        return safe_join(self.path / kind, img_id, self.folders[kind])

    def is_finished(
        self, img_id: str, with_maps: bool = False, scores: Sequence[float] = ()
    ) -> bool:
        """Tell whether the files of an image are whole: its labels, and what else is wanted of it.

        These are its maps, and its counts at the background ``scores`` of a sweep.
        """
        return (
            is_whole_label_png(self.file("labels", img_id))
            and (not with_maps or is_whole_maps(self.file("maps", img_id)))
            and (not scores or read_counts(self.file("sweep", img_id), scores) is not None)
        )

    def make_parents(self, img_ids: Iterable[str]) -> None:
        """Make the folders of ids that have some (``a/b``)."""
        for parent in {img_id.rpartition("/")[0] for img_id in img_ids if "/" in img_id}:
            for name in self.folders:
                safe_join(self.path / name, parent).mkdir(parents=True, exist_ok=True)

    def tidy(self) -> None:
        """Remove what killed processes have left half written, and folders that stayed empty."""
        for name in self.folders:
            for part in (self.path / name).rglob("*.part"):
                part.unlink(missing_ok=True)
        for name in ("maps", "sweep"):
            if not any((self.path / name).iterdir()):
                (self.path / name).rmdir()


@dataclass(frozen=True)
class LabelJob:
    """What is left to do for an image.

    Args:
        png: where the label map goes; it is written last.
        size: height and width of the photo.
        classes: L labels, background first.
        labels: for each background score (H, W) uint8, ready; empty where the CRF makes them.
        scores: for the CRF, (L, h, w) float32 for each background score.
        logits: whether the scores are logits, not shares.
        photo: for the CRF, (H', W', 3) uint8 RGB, perhaps reduced.
        npz: where maps go; None for nowhere.
        kept: labels of the maps, and (M, h, w) float32 in 0..1.
        exact: whether maps are written as they are, not in eight bits.
    """

    png: Path
    size: tuple[int, int]
    classes: Sequence[int]
    labels: Sequence[np.ndarray] = ()
    scores: Sequence[np.ndarray] = ()
    logits: bool = False
    photo: np.ndarray | None = None
    npz: Path | None = None
    kept: tuple[Sequence[int], np.ndarray] | None = None
    exact: bool = False


def finish_label(
    job: LabelJob, palette: Sequence[Sequence[int]] | None = None, crf: CRFSettings | None = None
) -> None:
    """Do what is left for an image and write its files, each whole or not at all.

    Args:
        job: the image.
        palette: RGB colours of the labels.
        crf: constants of the CRF, where the CRF makes the label map.

    Raises:
        ValueError: if the CRF cannot be computed.
        OSError: if a file cannot be written.
    """
    if job.npz is not None:
        assert job.kept is not None, "maps are to be written"
        write_maps(job.npz, *job.kept, job.size, job.exact)
    crf = crf or CRFSettings.AFA
    labels = job.labels or [_crf_label(job, scores, crf) for scores in job.scores]
    label = labels[0] if len(labels) == 1 else merge_labels(*labels)
    write_label_png(job.png, label, palette)


def merge_labels(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Combine label maps (H, W) uint8 of a high and of a low background score, as training does.

    Returns:
        (H, W) uint8: 255 where only the low score gives foreground.
    """
    return np.where((high == 0) & (low != 0), np.uint8(UNDECIDED), high)


def _crf_label(job: LabelJob, scores: np.ndarray, settings: CRFSettings) -> np.ndarray:
    """Compute the CRF at the size of the photo that was handed in; (H, W) uint8 labels."""
    assert job.photo is not None, "the CRF needs the photo"
    if job.logits:
        probs = crf_of_logits(job.photo, scores, True, settings)
    else:
        probs = crf_of_shares(job.photo, scores, settings)
    return np.asarray(job.classes, dtype=np.uint8)[best_label(probs, job.size)]


class MapFolder:
    """Read the maps that an earlier stage has kept, by the ids of their images.

    Args:
        path: the folder with the files ``ID.npz``, or the one above it, which
            ``tools/pseudo_labels.py`` or ``tools/random_walk.py`` was given.
        walked: whether they are maps after the random walk, the background first, not CAMs.

    Raises:
        ValueError: if there is no such folder.
    """

    def __init__(self, path: str | Path, walked: bool = False) -> None:
        path = Path(path)
        self.path = path / "maps" if (path / "maps").is_dir() else path
        self.walked = walked
        maker = ("random-walk",) if walked else ("pseudo-labels", "--kind", "cam")
        self._hint = f"{run_text(*maker, '--save-maps')} makes them"
        if not self.path.is_dir():
            raise ValueError(f"There is no folder of maps '{path}': {self._hint}.")

    @property
    def settings(self) -> dict[str, Any]:
        """How the maps were made, from the file beside the folder; empty where it is not known."""
        return read_settings(self.path.parent)

    def read(self, img_id: str, size: Sequence[int], num_classes: int) -> ImageMaps:
        """Read the maps of an image.

        Args:
            img_id: the image.
            size: height and width of its photo.
            num_classes: C, with the background.

        Returns:
            labels 1..K and maps of the present classes, of which there may be none; 0 and the map
            of the background before them where they have walked.

        Raises:
            ValueError: if there are none, the file is broken, or they are not such maps of this
                photo.
        """
        path = safe_join(self.path, img_id, ".npz")
        if not path.is_file():
            raise ValueError(
                f"There are no maps of the image '{img_id}' in '{self.path}': {self._hint} for "
                "each image of the split."
            )
        maps = read_maps(path)
        if maps.size != tuple(size):
            raise ValueError(
                f"'{path}' holds maps of a photo of {maps.size} pixels (height, width), but photo "
                f"'{img_id}' has {tuple(size)}: make the maps of this data set."
            )
        if self.walked and maps.classes[:1] != [0]:
            raise ValueError(
                f"'{path}' holds no map of the background, so that its maps have not walked: "
                f"{self._hint}."
            )
        if not self.walked and 0 in maps.classes:
            raise ValueError(
                f"'{path}' holds a map of the background, which comes from CAMs here: {self._hint}."
            )
        if maps.classes and maps.classes[-1] >= num_classes:
            raise ValueError(
                f"'{path}' holds a map of class {maps.classes[-1]}, but the data set has "
                f"{num_classes - 1} classes: make the maps of this data set."
            )
        return maps
