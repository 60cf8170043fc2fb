"""What a user asks of a stage that makes labels, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import Any

from afa.evaluation.threshold_sweep import sweep_scores
from afa.files.crf import MAX_SIDE, CRFSettings, check_crf
from afa.models.functional import SEG, check_kind

DEFAULT_SWEEP = (0.05, 0.95, 0.05)  # of background scores: first, last, step
SWEEP = (1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 32.0)


@dataclass(frozen=True)
class StageOptions:
    """What all stages over a split are asked.

    Args:
        split: ``'train'``, ``'val'``, ``'test'`` or a file with one image id per line.
        out: folder for the results; None for one in the work dir.
        overwrite: replace results that are there.
        launcher: how processes are started.
        device: where the network runs; None for the GPU if there is one.
        command: the command line, for the summary.
    """

    split: str
    _: KW_ONLY
    out: str | None = None
    overwrite: bool = False
    launcher: str = "none"
    device: str | None = None
    command: str = ""


@dataclass(frozen=True)
class LabelOptions(StageOptions):
    """What all stages that make label maps are asked, besides :class:`StageOptions`.

    Args:
        kind: what the label maps are made from.
        crf: sharpen label maps with the dense CRF.
        crf_workers: processes that compute CRFs and write files; None to choose.
        save_maps: write the maps too.
        evaluate: compare label maps with masks.
        sweep: the background scores to evaluate too, before the CRF; None for none.

    Raises:
        ValueError: if options do not fit each other or are out of range.
    """

    kind: str
    _: KW_ONLY
    crf: bool = False
    crf_workers: int | None = None
    save_maps: bool = False
    evaluate: bool = False
    sweep: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.crf_workers is not None and self.crf_workers < 0:
            raise ValueError(f"--crf-workers must be 0 or more, got {self.crf_workers}.")
        if self.crf:
            check_crf()

    @property
    def wants_figures(self) -> bool:
        """Whether masks are needed."""
        return self.evaluate or self.sweep is not None

    @property
    def sweep_scores(self) -> list[float]:
        """Background scores of the sweep; empty for no sweep."""
        raise NotImplementedError

    def wider_sweep(self, edge: int) -> Sequence[float] | None:
        """Give a ``sweep`` that goes further at its low (-1) or high (1) edge; None at a limit."""
        raise NotImplementedError


@dataclass(frozen=True)
class PseudoLabelOptions(LabelOptions):
    """What labels from a network are asked, besides :class:`LabelOptions`.

    ``kind`` is ``'cam'``, ``'par'``, ``'propagated'`` or ``'seg'``; ``sweep`` is first, last and
    step of the background scores, empty for 0.05 to 0.95 in steps of 0.05.

    Args:
        bkg_thr: background score; None for ``model.test_cfg.bkg_thr``.
        ignore_thr: a high and a low background score, between which pixels are undecided (255);
            empty for those of ``model.train_cfg``; None for one score.
        predicted_labels: an image has the classes that the classifier predicts, not those of its
            image label.
        restrict: with ``'seg'``, keep only the classes that the image has.
    """

    _: KW_ONLY
    bkg_thr: float | None = None
    ignore_thr: Sequence[float] | None = None
    predicted_labels: bool = False
    restrict: bool = False

    def __post_init__(self) -> None:
        check_kind(self.kind)
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
        super().__post_init__()
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
        return [] if self.sweep is None else sweep_scores(*(self.sweep or DEFAULT_SWEEP))

    def wider_sweep(self, edge: int) -> tuple[float, float, float] | None:
        """Take up to five more steps, not beyond 0 and 1."""
        low, high, step = self.sweep or DEFAULT_SWEEP
        last = self.sweep_scores[-1]
        steps = min(5, int((low if edge < 0 else 1 - last) / step + 1e-6))
        if steps == 0:
            return None
        if edge < 0:
            return round(low - steps * step, 6), high, step
        return low, round(last + steps * step, 6), step


def check_scores(scores: Sequence[float]) -> None:
    """Refuse background scores out of range, or a low one above the high one.

    Raises:
        ValueError: if it is so.
    """
    if any(not 0 <= score <= 1 for score in scores):
        raise ValueError(f"Background scores must lie between 0 and 1, got {list(scores)}.")
    if len(scores) == 2 and scores[0] < scores[1]:
        raise ValueError(
            f"--ignore-thr takes the HIGH background score first, got {scores[0]} and {scores[1]}: "
            "exchange them."
        )


@dataclass(frozen=True)
class MapLabelOptions(LabelOptions):
    """What labels from CAMs on disk are asked, besides :class:`LabelOptions`.

    ``kind`` is the name of the tool; ``sweep`` has exponents, empty for ``SWEEP``.

    Args:
        alphas: exponent of the background; two, LOW and HIGH, leave pixels undecided (255).
        crf_settings: constants that differ from ``CRFSettings.AFFINITY_NET``, and ``max_side``: the
            longest side of the photo that the CRF is computed at.
    """

    alphas: Sequence[float]
    _: KW_ONLY
    crf_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
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
        known = [field.name for field in fields(CRFSettings)]
        for name, value in self.crf_settings.items():
            if name not in (*known, "max_side"):
                raise ValueError(
                    f"--crf-settings has no '{name}'; it takes {', '.join(known)} and max_side."
                )
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise ValueError(f"--crf-settings {name} must be a number, 0 or more, got {value}.")
        super().__post_init__()
        _ = self.crf_constants  # fails if out of range

    @property
    def sweep_scores(self) -> list[float]:
        """Exponents of the sweep; empty for no sweep."""
        return [] if self.sweep is None else sorted(self.sweep or SWEEP)

    def wider_sweep(self, edge: int) -> list[float]:
        """Halve the smallest exponent twice, or double the largest."""
        scores = self.sweep_scores
        more = [scores[0] / 4, scores[0] / 2] if edge < 0 else [2 * scores[-1], 4 * scores[-1]]
        return sorted([*scores, *more])

    @property
    def crf_constants(self) -> CRFSettings | None:
        """Constants of the CRF; None for no CRF."""
        given = {name: value for name, value in self.crf_settings.items() if name != "max_side"}
        return replace(CRFSettings.AFFINITY_NET, **given) if self.crf else None

    @property
    def max_side(self) -> int:
        """Longest side of the photo that the CRF is computed at."""
        return int(self.crf_settings.get("max_side", MAX_SIDE))


@dataclass(frozen=True)
class SubCategoryOptions(StageOptions):
    """What the clustering is asked, besides :class:`StageOptions`.

    Args:
        num_sub: sub-categories of a class, K_sub.
        seed: of the first cluster centres.

    Raises:
        ValueError: if a number is out of range.
    """

    _: KW_ONLY
    num_sub: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.num_sub < 1:
            raise ValueError(f"--num-sub must be 1 or more, got {self.num_sub}.")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be between 0 and 2^32 - 1, got {self.seed}.")
