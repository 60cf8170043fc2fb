"""What a test does beside running the network once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of ``tools/test.py``.

    Args:
        tta: test at several scales with mirror images.
        tta_merge: ``'max'`` or ``'mean'`` over scales; None as the config says.
        crf: sharpen the segmentation with a dense CRF.
        crf_workers: processes that compute CRFs; None for what the machine has.
        split: name of the list of images, instead of the config's.
        format_only: write label maps and measure nothing.
        out: folder for the label maps; None for one in the work dir.
        overwrite: replace the label maps of an earlier run.

    Raises:
        ValueError: If an option has no effect, or is out of range.
    """

    tta: bool = False
    tta_merge: str | None = None
    crf: bool = False
    crf_workers: int | None = None
    split: str | None = None
    format_only: bool = False
    out: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse what would be ignored."""
        needs = (
            ("--tta-merge", self.tta_merge is not None, "--tta", self.tta),
            ("--crf-workers", self.crf_workers is not None, "--crf", self.crf),
            ("--out", self.out is not None, "--format-only", self.format_only),
            ("--overwrite", self.overwrite, "--format-only", self.format_only),
        )
        for option, given, needed, there in needs:
            if given and not there:
                raise ValueError(f"{option} has no effect without {needed}: add it.")
        if self.crf_workers is not None and self.crf_workers < 0:
            raise ValueError(
                f"--crf-workers must be 0 or more, got {self.crf_workers}: 0 computes the CRFs in "
                "the main process."
            )
