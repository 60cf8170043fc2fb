"""What a user asks of a stage that turns CAMs into label maps, checked before anything loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# The CRF of AffinityNet's authors, for their labels and after the random walk alike.
CRF = dict(
    num_iters=10,
    pos_xy_std=3,
    pos_weight=3,
    bi_xy_std=80,
    bi_rgb_std=13,
    bi_weight=10,
)
SWEEP = (1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 32.0)


@dataclass(frozen=True)
class MapStageOptions:
    """How label maps are made from CAMs, and what else is written.

    Args:
        split: ``'train'``, ``'val'``, ``'test'`` or a file with one image id per line.
        kind: what the label maps are, for messages.
        alphas: exponent of the background; two, LOW and HIGH, leave pixels undecided (255).
        out: folder for the labels; None for one in the work dir.
        crf: sharpen label maps with the dense CRF.
        crf_settings: constants of the CRF that differ from ``CRF``, and ``max_side``: the longest
            side of the photo that it is computed at.
        crf_workers: processes that compute CRFs and write files; None to choose.
        evaluate: compare label maps with masks.
        sweep: exponents to evaluate too, before the CRF; empty for ``SWEEP``; None for none.
        save_maps: keep the maps of the label maps too, for a later stage.
        overwrite: replace labels that are there.
        launcher: how processes are started.
        device: where the network runs; None for the GPU if there is one.
        command: the command line, for the summary.

    Raises:
        ValueError: if options are out of range.
    """

    split: str
    kind: str
    alphas: Sequence[float]
    out: str | None = None
    crf: bool = False
    crf_settings: Mapping[str, Any] = field(default_factory=dict)
    crf_workers: int | None = None
    evaluate: bool = False
    sweep: Sequence[float] | None = None
    save_maps: bool = False
    overwrite: bool = False
    launcher: str = "none"
    device: str | None = None
    command: str = ""

    def __post_init__(self) -> None:
        """Check every option."""
        for alpha in (*self.alphas, *self.sweep_scores):
            if not 0 < alpha < float("inf"):
                raise ValueError(
                    f"alpha, the exponent of the background, must be above 0, got {alpha:g}."
                )
        if len(self.alphas) == 2 and self.alphas[0] >= self.alphas[1]:
            raise ValueError(
                f"--alphas takes LOW and HIGH, got {self.alphas[0]:g} and {self.alphas[1]:g}: the "
                "first must be the smaller one."
            )
        if len(set(self.sweep_scores)) != len(self.sweep_scores):
            raise ValueError(f"--sweep names an alpha twice: {list(self.sweep_scores)}.")
        if self.crf_settings and not self.crf:
            raise ValueError("--crf-settings are for the CRF: add --crf.")
        for name, value in self.crf_settings.items():
            if name not in (*CRF, "max_side"):
                raise ValueError(
                    f"--crf-settings has no '{name}'; it takes {', '.join(CRF)} and max_side."
                )
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise ValueError(f"--crf-settings {name} must be a number, 0 or more, got {value}.")
        if self.crf_workers is not None and self.crf_workers < 0:
            raise ValueError(f"--crf-workers must be 0 or more, got {self.crf_workers}.")

    @property
    def sweep_scores(self) -> list[float]:
        """Exponents of the sweep; empty for no sweep."""
        return [] if self.sweep is None else sorted(self.sweep or SWEEP)

    @property
    def crf_constants(self) -> dict[str, Any] | None:
        """Constants of :func:`afa.utils.crf.dense_crf`; None for no CRF."""
        if not self.crf:
            return None
        return {name: self.crf_settings.get(name, value) for name, value in CRF.items()}

    @property
    def max_side(self) -> int:
        """Longest side of the photo that the CRF is computed at."""
        return int(self.crf_settings.get("max_side", 1024))
