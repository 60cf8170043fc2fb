"""What is installed, its quiet import, whether it works together, and what it computes on."""

import contextlib
import importlib
import io
import platform
import subprocess
import warnings
from functools import cache
from importlib import metadata
from pathlib import Path

import afa

_FAMILY = {
    "onedl-mmengine": "mmengine",
    "onedl-mmcv": "mmcv",
    "onedl-mmsegmentation": "mmsegmentation",
}
_REQUIRED = ("torch", "torchvision", "numpy", "opencv-python")
_CV2_TWINS = ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


class EnvironmentConflictError(RuntimeError):
    """Packages that are missing or that overwrite each other."""

    exit_status = 2


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _installed(name: str) -> bool:
    names = (name, *_CV2_TWINS) if name == "opencv-python" else (name,)
    return any(_version(candidate) is not None for candidate in names)


def check_environment() -> None:
    """Refuse an environment in which packages are missing or overwrite each other.

    The original mmengine, mmcv and mmsegmentation have the import names of the onedl line that
    afa is built on: together they overwrite each other's files and fail in confusing ways.

    Raises:
        EnvironmentConflictError: If both lines are installed, or a needed package is not.
    """
    originals = [name for name in (*_FAMILY.values(), "mmcv-lite", "mmcv-full") if _version(name)]
    twins = [name for name in _FAMILY if _version(name)]
    if originals and twins:
        raise EnvironmentConflictError(
            f"{', '.join(originals)} and {', '.join(twins)} are installed together and overwrite "
            f"each other's files: run `pip uninstall {' '.join(originals + twins)}`, then "
            "install afa again."
        )
    missing = [name for name in (*_REQUIRED, *_FAMILY) if not _installed(name)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise EnvironmentConflictError(
            f"{', '.join(missing)} {verb} not installed: run `pip install -e .` in the folder "
            "of afa (or `make setup`)."
        )


def _git_revision() -> str | None:
    root = Path(afa.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def collect_versions() -> dict[str, str]:
    """Collect the versions that a result depends on.

    Returns:
        Name to version, of Python, of the packages that are installed, of afa, and of the
        checkout (`git`) if there is one.
    """
    names = (*_REQUIRED, *_CV2_TWINS, *_FAMILY, "timm", "pydensecrf2")
    versions = {"python": platform.python_version(), "afa": afa.__version__}
    versions |= {name: version for name in names if (version := _version(name)) is not None}
    if revision := _git_revision():
        versions["git"] = revision
    return versions


def device_name() -> str:
    """Name what a run computes on."""
    import torch  # here, since check_environment() comes before everything that is heavy

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU ({threads} thread{'s' if threads > 1 else ''})"


@cache
def import_mmseg_quietly() -> None:
    """Import mmseg's data sets and models, and register them, without a word.

    mmseg says "Could not import OneDL" twice on stdout and mmcv warns that it has no compiled
    MultiScaleDeformableAttention; neither matters here, and both would hide what does. Other
    output is passed on. Calls after the first do nothing.
    """
    said = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(said):
            warnings.filterwarnings("ignore", message=".*MultiScaleDeformableAttention.*")
            importlib.import_module("mmcv.cnn.bricks.transformer")
            importlib.import_module("mmseg.datasets")
            importlib.import_module("mmseg.models")
    finally:
        for line in said.getvalue().splitlines():
            if "Could not import OneDL" not in line:
                print(line)
