"""Settings of AFA's training and testing, checked when they are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from afa.models.segmentors.base import SEG_LOGITS, CAMTestCfg, check_share

PROPAGATIONS = (None, "attention", "affinity")
AFF_LABELS = ("pseudo", "propagated")


@dataclass(frozen=True)
class AFATrainCfg:
    """How labels are made while training.

    Args:
        cam_scales: factors of the crop at which CAMs are computed.
        mirror_scales: those of them at which the mirror image is used too; None for all, as
            published. ``(1.0,)`` saves a third of a step with labels (docs/benchmarks/shapes.md).
        bkg_thr_high: background score above which only sure foreground remains (beta_h).
        bkg_thr_low: background score below which only sure background remains (beta_l). Both 0 for
            sets where every pixel has a class: no pixel becomes background, none is undecided.
        refine_scale: PAR runs at this share of the crop's resolution.
        propagation: what the propagated label spreads along: ``'affinity'`` (learned),
            ``'attention'`` (raw), or None: the segmentation always learns from the pseudo label.
        propagation_scale: the random walk uses the affinity of the crop at this scale.
        radius: half side of the affinity window, in tokens.
        power: exponent of the affinity in the random walk (alpha).
        num_steps: how often the transition is applied.
        aff_label: the affinity learns from the ``'pseudo'`` label always, or from the
            ``'propagated'`` label once there is one.
    """

    cam_scales: Sequence[float] = (1.0, 0.5, 1.5)
    mirror_scales: Sequence[float] | None = None
    bkg_thr_high: float = 0.55
    bkg_thr_low: float = 0.35
    refine_scale: float = 0.5
    propagation: str | None = "affinity"
    propagation_scale: float = 1.5
    radius: int = 8
    power: float = 2.0
    num_steps: int = 1
    aff_label: str = "pseudo"

    def __post_init__(self) -> None:
        if not self.cam_scales or min(self.cam_scales) <= 0:
            raise ValueError(f"train_cfg.cam_scales must be factors above 0, got {self.cam_scales}")
        if unknown := set(self.mirror_scales or ()) - set(self.cam_scales):
            raise ValueError(
                f"train_cfg.mirror_scales must be of cam_scales {tuple(self.cam_scales)}, got "
                f"{sorted(unknown)}"
            )
        check_share("train_cfg.bkg_thr_high", self.bkg_thr_high)
        check_share("train_cfg.bkg_thr_low", self.bkg_thr_low)
        if self.bkg_thr_low > self.bkg_thr_high:
            raise ValueError(
                f"train_cfg.bkg_thr_low ({self.bkg_thr_low}) must not be above bkg_thr_high "
                f"({self.bkg_thr_high}): exchange them"
            )
        for name, known in (("propagation", PROPAGATIONS), ("aff_label", AFF_LABELS)):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"train_cfg.{name} must be one of {known}, got {value!r}")
        if self.radius < 0:
            raise ValueError(f"train_cfg.radius must be 0 or more tokens, got {self.radius}")
        if min(self.refine_scale, self.propagation_scale, self.power, self.num_steps) <= 0:
            raise ValueError(
                "train_cfg.refine_scale, propagation_scale, power and num_steps must be above 0, "
                f"got {self.refine_scale}, {self.propagation_scale}, {self.power} and "
                f"{self.num_steps}"
            )


@dataclass(frozen=True)
class AFATestCfg(CAMTestCfg):
    """What testing computes beside the segmentation; see also :class:`CAMTestCfg`.

    Args:
        seg_logits: whether the results carry ``seg_logits``: None for no, ``'head'`` for (C, h, w)
            as the head gives them, without padding, ``'full'`` for (C, H, W) at the size of the
            photo, as mmseg's models do.
        tta: arguments of :class:`MultiScaleTTA` for ``tools/test.py --tta``.
        crf: arguments of :class:`DenseCRF`, and ``label_thr`` and ``max_side`` of
            :class:`CRFTestLoop`, for ``tools/test.py --crf``.
    """

    seg_logits: str | None = None
    tta: dict[str, Any] | None = None
    crf: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seg_logits not in SEG_LOGITS:
            raise ValueError(
                f"test_cfg.seg_logits must be one of {SEG_LOGITS}, got {self.seg_logits!r}"
            )
        for name in ("tta", "crf"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Mapping):
                raise ValueError(f"test_cfg.{name} must be a dict of arguments, got {value!r}")
