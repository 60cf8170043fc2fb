"""What the benchmark can measure, and with which sizes; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PARTS = (
    "par", "cams", "step", "walk", "affinity_labels", "losses", "regulariser", "data", "crf",
    "test", "scaling", "throughput",
)  # fmt: skip
NEED_PHOTOS = ("data", "crf", "test")
DTYPES = ("float32", "bfloat16")
DATA_ROOT = "data/voc12-mini"


@dataclass
class BenchmarkOptions:
    """Options of a benchmark.

    Args:
        parts: what to measure, of ``PARTS``.
        config: a config with an AFA model; None for MiT-B1 on VOC.
        device: where to compute.
        dtype: ``'bfloat16'`` computes ours in mixed precision; the references stay in float32.
        crop: side of the training images.
        batch: number of images of a step.
        photos: photos of the parts that need some.
        processes: processes of the dense CRF.
        data_root: photos in VOC's layout.
        compile: compile backbone and heads.
        seconds: no row of ``throughput`` is begun later than this after its first.
        json: file for the results; the table is written beside it. None for none.
        command: the command line, for the report.
    """

    parts: Sequence[str] = ()
    config: str | None = None
    device: str = "cpu"
    dtype: str = "float32"
    crop: int = 320
    batch: int = 2
    photos: int = 6
    processes: int = 2
    data_root: str = DATA_ROOT
    compile: bool = False
    seconds: float = float("inf")
    json: str | None = None
    command: str = field(default="", compare=False)

    def check(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            ValueError: naming the option, its value and what to give.
        """
        for part in self.parts:
            if part not in PARTS:
                raise ValueError(f"--parts must be of {', '.join(PARTS)}, got '{part}'.")
        if self.dtype not in DTYPES:
            raise ValueError(f"--dtype must be one of {', '.join(DTYPES)}, got '{self.dtype}'.")
        for name in ("batch", "photos"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be 1 or more, got {getattr(self, name)}.")
        if self.processes < 0:
            raise ValueError(f"--processes must be 0 or more, got {self.processes}.")
        if self.crop < 64 or self.crop % 32:
            raise ValueError(f"--crop must be a multiple of 32 and at least 64, got {self.crop}.")
        missing = [part for part in self.parts if part in NEED_PHOTOS]
        if missing and not (Path(self.data_root) / "JPEGImages").is_dir():
            raise ValueError(
                f"The parts {', '.join(missing)} need photos in VOC's layout, and there is no "
                f"'{self.data_root}/JPEGImages': give --data-root, or name other --parts."
            )
        if self.device.startswith("cuda"):
            import torch

            if not torch.cuda.is_available():
                raise ValueError(
                    f"--device {self.device} needs a GPU and torch's CUDA build: none is there."
                )
