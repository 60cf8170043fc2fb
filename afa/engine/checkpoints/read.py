"""Read files without running what they contain: the doors that mmengine leaves open are closed.

Checkpoints: mmengine tries `torch.load(weights_only=True)` and, when that refuses a file, loads it
again with `weights_only=False`, which runs the file's code. Here every scheme that mmengine knows
is registered anew, so that a refused file stays refused. On resume mmengine also executes
`meta['config']`, a Python config that the file brings along: it is taken out.

Other files: `mmengine.load` picks a reader by the suffix; the lists of mmengine's data sets and the
YAML files that a config may inherit from go through it. Nothing of ours is pickle or YAML.
"""

import hashlib
import os
import tempfile
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
import yaml
from mmengine.fileio import get_file_backend, register_handler
from mmengine.fileio.handlers import PickleHandler, YamlHandler
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import get_external_models, get_torchvision_models

from afa.utils.checkpoint import load_state, refuse_non_finite


def register_checkpoint_loaders() -> None:
    """Put these loaders in the place of mmengine's.

    Each takes a name and `map_location`, for mmengine's sake: tensors stay on the CPU, whoever
    takes them over copies them to his own device.
    """
    for prefixes, loader in (
        (("",), load_from_local),
        ((r"http://", r"https://"), load_from_url),
        ((r"(\S+\:)?s3://", r"(\S+\:)?petrel://"), load_from_store),
        (("modelzoo://", "torchvision://", "open-mmlab://", "openmmlab://"), load_by_name),
        (("mmcls://", "pavi://"), load_closed),
    ):
        CheckpointLoader.register_scheme(prefixes, loader, force=True)


def load_from_local(filename: str, map_location: Any = None) -> Any:
    """Load a local checkpoint, without `meta['config']`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds anything else than data, or weights that are not finite.
    """
    checkpoint = load_state(os.path.expanduser(filename))
    if not isinstance(checkpoint, dict):
        return checkpoint
    if isinstance(checkpoint.get("meta"), dict):
        checkpoint["meta"].pop("config", None)
    state = checkpoint.get("state_dict", checkpoint)
    try:
        refuse_non_finite(state if isinstance(state, dict) else {})
    except ValueError as error:
        raise ValueError(f"The checkpoint {filename} cannot be used: {error}") from error
    return checkpoint


def load_from_url(filename: str, map_location: Any = None) -> Any:
    """Download a checkpoint, once, and load it.

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


def register_file_handlers() -> None:
    """Put these readers in the place of those that `mmengine.load` has."""
    register_handler(["yaml", "yml"])(_PlainYaml)
    register_handler(["pickle", "pkl"])(_NoPickle)


class _PlainYaml(YamlHandler):
    """Read YAML as texts, numbers, lists and mappings."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:  # without the caller's loader
        try:
            return yaml.safe_load(file)
        except yaml.YAMLError as error:
            if "python/" in str(error):
                raise ValueError(
                    "a YAML file names a Python object, which would run code: only plain values "
                    "are read; write a Python config if you trust it"
                ) from error
            raise ValueError(f"a YAML file is malformed ({error})") from error


class _NoPickle(PickleHandler):
    """Write pickles, as metrics of mmengine can, and read none."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        raise ValueError("a pickle (.pkl) can run code and is not read: convert it to JSON")
