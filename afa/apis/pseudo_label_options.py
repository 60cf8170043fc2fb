"""What a user asks of the pseudo labels, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from afa.apis.label_maker import ALL_KINDS, SEG
from afa.evaluation.threshold_sweep import sweep_scores


@dataclass(frozen=True)
class PseudoLabelOptions:
    """How label maps are made and what else is written.

    Args:
        split: ``'train'``, ``'val'``, ``'test'`` or a file with one image id per line.
        kind: ``'cam'``, ``'par'``, ``'affinity'`` or ``'seg'``.
        out: Folder for the labels; None for one in the work dir.
        bkg_thr: Background score; None for ``model.test_cfg.bkg_thr``.
        ignore_thr: A high and a low background score, between which pixels are undecided (255);
            empty for those of ``model.train_cfg``; None for one score.
        crf: Sharpen label maps with the dense CRF.
        crf_workers: Processes that compute CRFs and write files; None to choose.
        save_maps: Write the maps too.
        evaluate: Compare label maps with masks.
        sweep: First, last and step of the background scores to evaluate; empty for 0.05 to 0.95
            in steps of 0.05; None for no sweep.
        predicted_labels: An image has the classes that the classifier predicts, not those of its
            image label.
        restrict: With ``'seg'``, keep only the classes that the image has.
        overwrite: Replace labels that are there.
        launcher: How processes are started.
        device: Where the network runs; None for the GPU if there is one.
        command: The command line, for the summary.

    Raises:
        ValueError: If options do not fit each other or are out of range.
    """

    split: str
    kind: str
    out: str | None = None
    bkg_thr: float | None = None
    ignore_thr: Sequence[float] | None = None
    crf: bool = False
    crf_workers: int | None = None
    save_maps: bool = False
    evaluate: bool = False
    sweep: Sequence[float] | None = None
    predicted_labels: bool = False
    restrict: bool = False
    overwrite: bool = False
    launcher: str = "none"
    device: str | None = None
    command: str = ""

    def __post_init__(self) -> None:
        """Check every option."""
        if self.kind not in ALL_KINDS:
            raise ValueError(f"--kind must be one of {', '.join(ALL_KINDS)}, got '{self.kind}'.")
        if self.kind == SEG:
            self._check_seg()
        elif self.restrict:
            raise ValueError("--restrict is for --kind seg: the other kinds are restricted anyway.")
        if self.bkg_thr is not None and self.ignore_thr is not None:
            raise ValueError("--bkg-thr is one background score, --ignore-thr two: give only one.")
        if self.ignore_thr is not None and len(self.ignore_thr) not in (0, 2):
            raise ValueError(
                "--ignore-thr takes a HIGH and a LOW background score, or nothing for those of the "
                f"training, got {len(self.ignore_thr)} value."
            )
        if self.sweep is not None and len(self.sweep) not in (0, 3):
            raise ValueError(
                "--sweep takes LOW HIGH STEP, or nothing for 0.05 0.95 0.05, got "
                f"{len(self.sweep)} values."
            )
        check_scores(tuple(self.ignore_thr or (() if self.bkg_thr is None else (self.bkg_thr,))))
        if self.crf_workers is not None and self.crf_workers < 0:
            raise ValueError(f"--crf-workers must be 0 or more, got {self.crf_workers}.")
        _ = self.sweep_scores  # fails if out of range

    def _check_seg(self) -> None:
        given = dict(bkg_thr=self.bkg_thr, ignore_thr=self.ignore_thr, sweep=self.sweep)
        for name, value in given.items():
            if value is not None:
                option = name.replace("_", "-")
                raise ValueError(f"--kind seg has no background score, so that --{option} is void.")
        if self.predicted_labels and not self.restrict:
            raise ValueError("--kind seg uses the predicted classes only with --restrict: add it.")

    @property
    def sweep_scores(self) -> list[float]:
        """Background scores of the sweep; empty for no sweep."""
        return [] if self.sweep is None else sweep_scores(*(self.sweep or (0.05, 0.95, 0.05)))


def check_scores(scores: Sequence[float]) -> None:
    """Refuse background scores out of range, or a low one above the high one.

    Raises:
        ValueError: If it is so.
    """
    if any(not 0 <= score <= 1 for score in scores):
        raise ValueError(f"Background scores must lie between 0 and 1, got {list(scores)}.")
    if len(scores) == 2 and scores[0] < scores[1]:
        raise ValueError(
            f"--ignore-thr takes the HIGH background score first, got {scores[0]} and {scores[1]}: "
            "exchange them."
        )
