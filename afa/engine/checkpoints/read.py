"""Load checkpoints without running what they contain.

mmengine tries `torch.load(weights_only=True)` and, when that refuses a file, loads it again with
`weights_only=False`, which runs the file's code. Here every scheme that mmengine knows is
registered anew, so that a refused file stays refused. A second door is closed as well: on resume
mmengine executes `meta['config']`, a Python config that the file brings along.
"""

import hashlib
import os
import tempfile
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import get_external_models, get_torchvision_models

_URL = (r"http://", r"https://")
_STORE = (r"(\S+\:)?s3://", r"(\S+\:)?petrel://")
_NAMED = ("modelzoo://", "torchvision://", "open-mmlab://", "openmmlab://")
_CLOSED = ("mmcls://", "pavi://")


def _open(path: str | Path) -> Any:
    from afa.utils.checkpoint import load_state

    checkpoint = load_state(path)
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get("meta"), dict):
        checkpoint["meta"].pop("config", None)
    return checkpoint


def load_from_local(filename: str, map_location: Any = None) -> Any:
    """Load a local checkpoint.

    Args:
        filename: Path; `~` is the home folder.
        map_location: Taken for mmengine's sake. Tensors stay on CPU: whoever takes them over
            copies them to his own device.

    Returns:
        The checkpoint, without `meta['config']`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds anything else than data.
    """
    del map_location
    return _open(os.path.expanduser(filename))


def load_from_url(filename: str, map_location: Any = None) -> Any:
    """Download a checkpoint, once, and load it.

    Args:
        filename: The address.
        map_location: As in `load_from_local`.

    Returns:
        The checkpoint.

    Raises:
        ValueError: If it cannot be fetched, or holds anything else than data; it is not kept then.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    # Files of one name may come from different addresses.
    digest = hashlib.sha256(filename.encode()).hexdigest()[:8]
    target = folder / f"{digest}-{Path(urlparse(filename).path).name}"
    if not target.exists():
        # It is renamed to its place when it is whole, so that processes do not disturb another.
        try:
            torch.hub.download_url_to_file(filename, str(target), progress=False)
        except (OSError, HTTPException, ValueError) as error:
            raise ValueError(
                f"'{filename}' cannot be downloaded ({error}): mend the address, or fetch the file "
                "by other means and give its path."
            ) from error
    try:
        return load_from_local(str(target), map_location)
    except ValueError as error:
        target.unlink(missing_ok=True)  # it may be a page that says "not found": fetch it anew
        raise ValueError(f"'{filename}' holds no weights: {error}") from error


def load_from_store(filename: str, map_location: Any = None) -> Any:
    """Load a checkpoint from an object store (s3, petrel) through mmengine's file backend."""
    from mmengine.fileio import get_file_backend

    content = get_file_backend(filename, backend_args={"backend": "petrel"}).get(filename)
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        file.write(content)
        file.flush()
        return load_from_local(file.name, map_location)


def load_by_name(filename: str, map_location: Any = None) -> Any:
    """Load a checkpoint that torchvision or OpenMMLab publishes under a name."""
    scheme, _, name = filename.partition("://")
    urls = get_external_models() if "mmlab" in scheme else get_torchvision_models()
    if name not in urls:
        raise ValueError(f"{scheme} publishes no checkpoint named '{name}'.")
    return load_from_url(urls[name], map_location)


def load_closed(filename: str, map_location: Any = None) -> Any:
    """Refuse a scheme whose loader would run code of the file."""
    raise ValueError(
        f"Cannot load '{filename}' safely: download the file and give its path instead."
    )


def register_checkpoint_loaders() -> None:
    """Put these loaders in the place of mmengine's."""
    for prefixes, loader in (
        (("",), load_from_local),
        (_URL, load_from_url),
        (_STORE, load_from_store),
        (_NAMED, load_by_name),
        (_CLOSED, load_closed),
    ):
        CheckpointLoader.register_scheme(prefixes, loader, force=True)
