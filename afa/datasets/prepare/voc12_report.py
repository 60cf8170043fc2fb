"""What the preparation of VOC 2012 found, in figures and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from afa.datasets.prepare.voc12_image import CLASSES, VOC12Image

_NUM_SHOWN = 10  # faults that a message shows


@dataclass
class VOC12Report:
    """Collect what was found; one small record per image is kept.

    Args:
        missing: Sentences on what the splits lack.
        images: The images that are fit.
        faults: The others, and why.
        lists: The splits, without what is not fit.
    """

    missing: list[str] = field(default_factory=list)
    images: dict[str, VOC12Image] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def add(self, image: VOC12Image) -> None:
        """Take in what one image turned out to be."""
        if image.fault:
            self.faults[image.img_id] = image.fault
        else:
            self.images[image.img_id] = image

    def text(self) -> str:
        """Return what a user wants to know at the end."""
        sizes = ", ".join(f"{name} {len(ids):,}" for name, ids in self.lists.items())
        made = Counter(image.made_from for image in self.images.values())
        masks = ", ".join(
            f"{made[source]:,} {words}"
            for source, words in (
                ("VOC", "from VOC"),
                ("SBD", "from SBD"),
                ("ready", "from ready ones"),
                ("", "were there already"),
            )
            if made[source]
        )
        lines = [*self._class_table(), "", f"Images: {sizes}.", f"Masks: {masks}.", *self._notes()]
        left_out = [*self.missing, *self.faults.values()]
        if left_out:
            lines.append(fault_text("Not the whole set", left_out))
        return "\n".join(lines)

    def _class_table(self) -> list[str]:
        """Count the images with a class, by their image labels and by their masks."""
        rows = [["class"]] + [[name] for name in CLASSES[1:]] + [["labels per image"]]
        for split in ("train_aug", "val"):
            images = [self.images[img_id] for img_id in self.lists.get(split, ())]
            for kind in ("names", "in_mask"):
                count = Counter(name for image in images for name in getattr(image, kind))
                mean = count.total() / max(1, len(images))
                rows[0].append(f"{split} {'labels' if kind == 'names' else 'masks'}")
                for row, name in zip(rows[1:-1], CLASSES[1:], strict=True):
                    row.append(f"{count[name]:,}")
                rows[-1].append(f"{mean:.2f}")
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return [
            row[0].ljust(widths[0])
            + "".join(f"  {cell.rjust(w)}" for cell, w in zip(row[1:], widths[1:], strict=True))
            for row in rows
        ]

    def _notes(self) -> list[str]:
        images = self.images.values()
        other = sum(set(image.names) != set(image.in_mask) for image in images)
        difficult = sum(image.only_difficult for image in images)
        differing = [image.img_id for image in images if image.differs]
        notes = []
        if other:
            notes.append(
                f"Annotations and masks name other classes in {other:,} images "
                f"({100 * other / len(images):.1f} %): so they are, nothing is changed."
            )
        if difficult:
            notes.append(
                f"{difficult:,} images have difficult objects only: these count, "
                "since every image needs a label."
            )
        if differing:
            notes.append(
                f"{len(differing):,} masks that were there are not VOC's own, the first is "
                f"{differing[0]}: --overwrite takes VOC's."
            )
        if "test" not in self.lists:
            notes.append(
                "test.txt is left out: VOC has no ImageSets/Segmentation/test.txt, unpack "
                "VOC2012test.tar into the same folder for it."
            )
        return notes


def fault_text(title: str, faults: Iterable[str]) -> str:
    """Return a title with one line for each of the first faults below it."""
    faults = list(faults)
    lines = [f"{title}:", *(f"  {fault}" for fault in faults[:_NUM_SHOWN])]
    if len(faults) > _NUM_SHOWN:
        lines.append(f"  ... and {len(faults) - _NUM_SHOWN:,} more.")
    return "\n".join(lines)
