"""What the preparation of COCO 2014 found, in figures and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

# Images of the whole set, and those of them that have objects.
NUM_IMAGES = {"train": (82783, 82081), "val": (40504, 40137)}


@dataclass
class SplitReport:
    """Collect what was found in one split.

    Args:
        num_images: Images of the annotation file.
        num_kept: Those with objects.
        num_annotations: Annotations.
        num_crowds: Those that outline a group.
        num_made: Label maps drawn in this run; the others were there already.
        images_per_class: Images with a class.
        regions_per_class: Annotations of a class.
    """

    num_images: int
    num_kept: int
    num_annotations: int
    num_crowds: int
    num_made: int = 0
    images_per_class: Counter[str] = field(default_factory=Counter)
    regions_per_class: Counter[str] = field(default_factory=Counter)

    def text(self, split: str) -> str:
        """Return the figures of the split, and a sentence if they are not the published ones."""
        labels = self.images_per_class.total() / max(1, self.num_kept)
        lines = [
            f"{split}: {self.num_kept:,} images with objects "
            f"({self.num_images - self.num_kept:,} without are left out), "
            f"{self.num_annotations:,} annotations ({self.num_crowds:,} crowd regions), "
            f"{labels:.2f} classes per image; {self.num_made:,} label maps drawn, "
            f"{self.num_kept - self.num_made:,} were there already."
        ]
        whole, with_objects = NUM_IMAGES.get(split, (0, 0))
        if self.num_images == whole and self.num_kept != with_objects:
            lines.append(
                f"{split}: the literature has {with_objects:,} images with objects, this file has "
                f"{self.num_kept:,}: it is not the published one."
            )
        return "\n".join(lines)


def class_table(reports: dict[str, SplitReport], classes: Sequence[str]) -> str:
    """Return a table of images and annotations per class.

    Args:
        reports: The splits.
        classes: The foreground classes, in the order of their labels.
    """
    rows = [["class", *(f"{name} {what}" for name in reports for what in ("images", "regions"))]]
    for label, name in enumerate(classes, start=1):
        row = [f"{label:2d} {name}"]
        for report in reports.values():
            row += [f"{report.images_per_class[name]:,}", f"{report.regions_per_class[name]:,}"]
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        row[0].ljust(widths[0])
        + "".join(f"  {cell.rjust(width)}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )
