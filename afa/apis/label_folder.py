"""The folder of pseudo labels: what lies where, what is finished, what must not be mixed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from afa.evaluation.threshold_sweep import read_counts
from afa.utils.files import read_json, safe_join, write_json
from afa.utils.label_png import is_whole_label_png
from afa.utils.maps_npz import is_whole_maps

SETTINGS, SUMMARY, PLOT = "settings.json", "summary.json", "sweep.png"
TOOL = "pseudo_labels"
FOLDERS = {"labels": ".png", "maps": ".npz", "sweep": ".npz"}


class LabelFolder:
    """Name, find and forget the files of pseudo labels.

    ::

        settings.json      how the labels were made
        labels/ID.png      label map, indexed PNG at the size of the photo; written last
        maps/ID.npz        maps, where asked for
        sweep/ID.npz       what the image counts at each background score, where asked for
        summary.json       figures; sweep.png: their plot

    Args:
        path: The folder; need not be there yet.
        tool: Name of the tool that makes the labels; a folder of another tool is refused.
    """

    def __init__(self, path: str | Path, tool: str = TOOL) -> None:
        self.path = Path(path)
        self.tool = tool

    def file(self, kind: str, img_id: str) -> Path:
        """Name a file of an image.

        Args:
            kind: ``'labels'``, ``'maps'`` or ``'sweep'``.
            img_id: The image.

        Raises:
            ValueError: If the id would lead out of the folder.
        """
        return safe_join(self.path / kind, img_id, FOLDERS[kind])

    def prepare(self, settings: Mapping[str, Any], overwrite: bool = False) -> None:
        """Make the folder, or refuse one where something could be lost or mixed up.

        Args:
            settings: What decides the content of label maps.
            overwrite: Remove the labels that are there first.

        Raises:
            ValueError: If it holds labels made with other settings, or files of something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"'{self.path}' is a file: give another folder with --out.")
        found = self._settings()
        taken = [name for name in FOLDERS if (self.path / name).exists()]
        if found is None and taken:
            raise ValueError(
                f"'{self.path}' has a folder '{taken[0]}', but no {SETTINGS} of this tool: give "
                "another folder with --out; this one is left as it is."
            )
        if found is not None and not overwrite:
            changed = settings_changed(found, settings)
            if changed:
                raise ValueError(
                    f"'{self.path}' holds labels that were made with other settings ({changed}): "
                    "give another folder with --out, or replace them with --overwrite."
                )
        if found is not None and overwrite:
            self._clear()
        for name in FOLDERS:
            (self.path / name).mkdir(parents=True, exist_ok=True)
        write_json(self.path / SETTINGS, settings)

    def is_finished(
        self, img_id: str, with_maps: bool = False, scores: Sequence[float] = ()
    ) -> bool:
        """Tell whether all files of an image are there and whole.

        Args:
            img_id: The image.
            with_maps: Whether maps are wanted.
            scores: Background scores of the sweep that is wanted; empty for none.
        """
        return (
            is_whole_label_png(self.file("labels", img_id))
            and (not with_maps or is_whole_maps(self.file("maps", img_id)))
            and (not scores or read_counts(self.file("sweep", img_id), scores) is not None)
        )

    def make_parents(self, img_ids: Iterable[str]) -> None:
        """Make the folders of ids that have some (``a/b``)."""
        for parent in {img_id.rpartition("/")[0] for img_id in img_ids if "/" in img_id}:
            for name in FOLDERS:
                safe_join(self.path / name, parent).mkdir(parents=True, exist_ok=True)

    def tidy(self) -> None:
        """Remove what killed processes have left half written, and folders that stayed empty."""
        for name in FOLDERS:
            for part in (self.path / name).rglob("*.part"):
                part.unlink(missing_ok=True)
        for name in ("maps", "sweep"):
            if not any((self.path / name).iterdir()):
                (self.path / name).rmdir()

    def _settings(self) -> dict[str, Any] | None:
        try:
            found = read_json(self.path / SETTINGS)
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("tool") == self.tool else None

    def _clear(self) -> None:
        """Remove labels and what belongs to them; the settings stay until others replace them."""
        for name, suffix in FOLDERS.items():
            for path in (self.path / name).rglob(f"*{suffix}"):
                path.unlink()
        for name in (SUMMARY, PLOT):
            (self.path / name).unlink(missing_ok=True)


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
