"""Read checkpoint files without running code that they may hold, and write them whole.

A pickle can name any function of any package to be called while it is read. Everything here goes
through the restricted reader of torch (`weights_only=True`), which calls only what is listed.
"""

import json
import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors import safe_open

from afa.utils.hub import is_hub_address, local_path

# What the header of a `.safetensors` file of ours can have.
_HEADER = ("classes", "palette", "plain_config", "versions")
_STATISTICS = ("min", "max", "mean", "current")
_UNSAFE_PATTERNS = (
    r"Unsupported global: GLOBAL (\S+)",
    r"unsupported GLOBAL (\S+)",
    r"unrecognized function (.+?)(?: which|$)",
    r"(refused attribute .+)$",
)


def load_state(path: str | os.PathLike) -> object:
    """Read a checkpoint onto the CPU.

    Args:
        path: A file of `torch.save` (plain weights, or a whole checkpoint of mmengine), a
            `.safetensors` file, or the address of one on the Hugging Face hub (`hf://...`).

    Returns:
        What the file holds; mostly a dict. Of a `.safetensors` file its tensors, or, where its
        header is one of ours, a checkpoint with `state_dict` and `meta`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is a folder, incomplete, no checkpoint, or wants to run code.
    """
    if "://" in str(path) and not is_hub_address(path):
        raise ValueError(f"{path} is an address: download the file, and give its path instead.")
    path = local_path(path)
    if not path.exists():
        raise FileNotFoundError(f"The checkpoint {path} does not exist.")
    if not path.is_file():
        raise ValueError(f"The checkpoint {path} is not a file: give the path of a file.")
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    try:
        with torch.serialization.safe_globals(_safe_globals()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd pickles: they are read, or refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        text = f"The checkpoint {path} must not be read: check its permissions."
        raise ValueError(text) from error
    except Exception as error:  # torch raises a dozen types, down to KeyError, for broken files
        raise ValueError(_explain(path, error)) from error


def refuse_non_finite(weights: Mapping[Any, Any]) -> None:
    """Refuse weights that hold NaN or infinite numbers, which make everything NaN.

    Args:
        weights: Name to tensor; other entries do not count.

    Raises:
        ValueError: If there are any.
    """
    tensors = {name: one for name, one in weights.items() if isinstance(one, torch.Tensor)}
    wrong = [str(name) for name, one in tensors.items() if not _is_finite(one)]
    if wrong:
        raise ValueError(
            f"NaN or infinite numbers in {len(wrong)} of {len(tensors)} weights, the first is "
            f"'{wrong[0]}': take an earlier checkpoint of the training, or fetch the file again."
        )


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.is_meta or tensor.layout != torch.strided:
        return True
    return bool(tensor.float().isfinite().all())  # kinds of 8 bits cannot be asked themselves


def save_state(state: object, path: str | os.PathLike) -> None:
    """Write what `torch.save` can write; the file appears whole or not at all, its folder is made.

    Raises:
        OSError: If it cannot be written.
    """
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        torch.save(state, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _load_safetensors(path: Path) -> dict[str, Any]:
    """Read a file of the safetensors package, and its header where that is one of ours."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise ValueError(_explain(path, error)) from error
    meta = _meta_of_header(header)
    return {"state_dict": state, "meta": meta} if meta else state


def safetensors_header(meta: Mapping[str, Any]) -> dict[str, str]:
    """Turn what a checkpoint says of itself into the header of a `.safetensors` file.

    Args:
        meta: Some of `dataset_meta` (`classes` and `palette`), `plain_config` and `versions`.

    Returns:
        Texts, as the format wants: JSON, in which a tuple is ``{"tuple": [...]}``.
    """
    entries = {**meta.get("dataset_meta", {}), **meta}
    kept = {key: entries[key] for key in _HEADER if entries.get(key) is not None}
    return {"format": "pt", **{key: json.dumps(_tuples_marked(kept[key])) for key in kept}}


def _meta_of_header(header: Mapping[str, str]) -> dict[str, Any]:
    """Turn a header back; entries that are no JSON are another program's."""
    entries = {}
    for key in _HEADER:
        try:
            entries[key] = json.loads(header[key], object_hook=_tuple_again)
        except (KeyError, ValueError, RecursionError):
            continue
    names = {key: entries.pop(key) for key in ("classes", "palette") if key in entries}
    return {**entries, **({"dataset_meta": names} if names else {})}


def _tuples_marked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tuples_marked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_tuples_marked(item) for item in value]
        return {"tuple": items} if isinstance(value, tuple) else items
    return value


def _tuple_again(node: dict[str, Any]) -> Any:
    return tuple(node["tuple"]) if node.keys() == {"tuple"} else node


def _explain(path: Path, error: Exception) -> str:
    """Say in one sentence why a file cannot be read."""
    if path.stat().st_size == 0:
        return f"The checkpoint {path} is empty: fetch or save it again."
    for pattern in _UNSAFE_PATTERNS:
        match = re.search(pattern, str(error), re.MULTILINE)
        if match:
            return (
                f"The checkpoint {path} is refused because reading it would run code "
                f"({match[1].rstrip('.')}): save its weights alone, as a dict of tensors."
            )
    return (
        f"The checkpoint {path} cannot be read: it is incomplete, or not a file of torch.save or "
        "safetensors."
    )


def _history_attribute(owner: object, name: str) -> Any:
    """Stand in for `getattr` while a checkpoint is read.

    A HistoryBuffer of mmengine names its four statistics through `getattr`. The real one would lead
    from any listed object to every other object of the process.
    """
    if owner is HistoryBuffer and name in _STATISTICS:
        return getattr(HistoryBuffer, name)
    raise ValueError(f"refused attribute {name} of {owner!r}")


def _safe_globals() -> list[Callable | tuple[Callable, str]]:
    """List what a checkpoint of mmengine needs beyond tensors and containers."""
    listed: list[Any] = [HistoryBuffer, np.ndarray, np.dtype]
    listed += [(_history_attribute, f"{module}.getattr") for module in ("builtins", "__builtin__")]
    # One class for each dtype: they carry no code. Objects ("O") stay out.
    listed += {type(np.dtype(code)) for code in "?bhilqBHILQefdgFDSUMm"}
    core = np._core if hasattr(np, "_core") else np.core  # numpy 2, numpy 1
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        names = ("_reconstruct", "scalar")
        listed += [(getattr(core.multiarray, name), f"{module}.{name}") for name in names]
    return listed
