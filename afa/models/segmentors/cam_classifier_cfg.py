"""Settings of a CAM classifier's testing, checked when they are made."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CAMClassifierTestCfg:
    """What testing computes beside the class probabilities.

    Args:
        pseudo_labels: also give the labels made from CAMs and from the refiner, so that they can
            be evaluated.
        bkg_thr: the one background score of these labels. 0.28 is where AffinityNet's background
            (1 - max)^4 meets a single class, for CAMs that are divided by their maximum.
        cls_thr: probability above which a class counts as predicted; used for these labels where
            an image has no image labels.
        refine_scale: the refiner runs at this share of the image's resolution.
    """

    pseudo_labels: bool = False
    bkg_thr: float = 0.28
    cls_thr: float = 0.5
    refine_scale: float = 0.5

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("bkg_thr", "cls_thr"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"test_cfg.{name} must be between 0 and 1, got {value}")
        if self.refine_scale <= 0:
            raise ValueError(f"test_cfg.refine_scale must be above 0, got {self.refine_scale}")
