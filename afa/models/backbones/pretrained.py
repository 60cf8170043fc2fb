"""Pre-trained weights on their way from a file into a backbone.

What the backbones share: find the network inside a checkpoint, bring its weights under the names of
ours, and name what does not fit. Which names there are is the matter of each backbone
(`mit_weights.py`, `resnet38_weights.py`, `vgg16_weights.py`). State dicts (name to tensor) that
come in are left as they are.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from afa.utils.checkpoint import load_state

_WRAPPERS = ("state_dict", "model", "model_state_dict")
# Counts of batches matter to no computation here; files of an old torch do not have them.
_COUNT = "num_batches_tracked"

Fit = Callable[[object, Mapping[str, Tensor]], dict[str, Tensor]]


def check_init_cfg(init_cfg: dict | None) -> None:
    """Raise ValueError for an `init_cfg` that is neither None nor a checkpoint."""
    if init_cfg is None:
        return
    if set(init_cfg) != {"type", "checkpoint"} or init_cfg["type"] != "Pretrained":
        raise ValueError(
            "init_cfg must be None or dict(type='Pretrained', checkpoint=PATH) (prefixes in the "
            f"file are found without being named), but got {init_cfg!r}."
        )


def load_pretrained(
    module: nn.Module, checkpoint: str, fit: Fit, read: Callable[[str], object] = load_state
) -> None:
    """Load weights into a backbone; mmengine's own loader may run code of the file.

    Args:
        module: The backbone, changed in place.
        checkpoint: Path of the file.
        fit: Takes what the file holds and the state dict of the backbone, and gives a state dict
            with exactly the same names.
        read: Reads the file without running code of it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read, or its weights do not fit.
    """
    state = read(checkpoint)
    try:
        weights = fit(state, module.state_dict())
    except ValueError as error:
        raise ValueError(f"{checkpoint}: {error}") from error
    module.load_state_dict(weights)


def unwrap_state_dict(state: object) -> dict[str, Tensor]:
    """Find the tensors in what a checkpoint file holds.

    Args:
        state: A dict of tensors, alone or inside a checkpoint under 'state_dict' or 'model'.

    Returns:
        The named tensors; other entries are left out.

    Raises:
        ValueError: If there are none.
    """
    while isinstance(state, Mapping):
        inner = [state[k] for k in _WRAPPERS if isinstance(state.get(k), Mapping)]
        if not inner:
            break
        state = inner[0]
    entries: Mapping[Any, Any] = state if isinstance(state, Mapping) else {}
    tensors = {k: v for k, v in entries.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not tensors:
        raise ValueError(f"The weights must be a dict of named tensors, but got {_brief(state)}.")
    return tensors


def find_backbone(
    tensors: Mapping[str, Tensor],
    anchors: Mapping[str, re.Pattern[str]],
    network: str,
    examples: str,
) -> tuple[str, str]:
    """Find which program named the weights, and below which prefix the backbone lies.

    Args:
        tensors: Named tensors.
        anchors: Layout to a pattern of one weight that every file of it has; group 1 is the prefix.
        network: Name of the network, for the messages.
        examples: The names that were looked for, for the messages.

    Returns:
        Layout and prefix.

    Raises:
        ValueError: If the network is not there, or several times.
    """
    found = {
        (layout, match[1])
        for layout, anchor in anchors.items()
        for key in tensors
        if (match := anchor.match(key))
    }
    if not found:
        raise ValueError(
            f"The weights hold no {network}: no name ends in {examples}; the first names are "
            f"{first_names(tensors)}."
        )
    if len(found) > 1:
        places = ", ".join(repr(prefix) for _, prefix in sorted(found))
        raise ValueError(f"The weights hold several {network}s, below {places}: keep one.")
    return found.pop()


def take_backbone(
    tensors: Mapping[str, Tensor], prefix: str, heads: Collection[str] = ()
) -> dict[str, Tensor]:
    """Keep the weights of the backbone, and log what else there was.

    Args:
        tensors: Named tensors.
        prefix: What the names of the backbone begin with; may be empty.
        heads: First parts of names that are no backbone's, although they are below the prefix.

    Returns:
        The weights below the prefix, without it.
    """
    backbone = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    left_out = {k for k in backbone if k.split(".")[0] in heads}
    others = left_out | {k for k in tensors if not k.startswith(prefix)}
    if others:
        parts = sorted({k.removeprefix("module.").split(".")[0] for k in others})
        print_log(
            f"Left out {len(others)} weights that are not the backbone's: {', '.join(parts)}.",
            logger="current",
        )
    return {k: v for k, v in backbone.items() if k not in left_out}


def fit_weights(
    state_dict: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    network: str,
    optional: Collection[str] = (),
) -> dict[str, Tensor]:
    """Check weights against the backbone that takes them.

    Args:
        state_dict: Weights under the names of the backbone.
        expected: State dict of the backbone.
        network: Name of the network, for the messages.
        optional: Names that may be missing, all of them together or none.

    Returns:
        The weights under exactly the names of `expected`, from there where they may be missing.

    Raises:
        ValueError: If a weight is missing or has another shape.
    """
    drawn = set(optional) if not set(optional) & set(state_dict) else set()
    missing = [k for k in expected if k not in state_dict and k not in drawn and _COUNT not in k]
    misfits = [
        f"{k} is {tuple(state_dict[k].shape)} instead of {tuple(v.shape)}"
        for k, v in expected.items()
        if k in state_dict and state_dict[k].shape != v.shape
    ]
    if missing or misfits:
        problems = [f"{len(missing)} missing ({first_names(missing)})"] if missing else []
        problems += [f"{len(misfits)} of another shape ({first_names(misfits)})"] if misfits else []
        raise ValueError(f"The weights do not fit {network}: {', '.join(problems)}.")
    if drawn:
        _warn(f"The file does not have, and training begins with drawn numbers in: {_join(drawn)}.")
    unexpected = [k for k in state_dict if k not in expected]
    if unexpected:
        _warn(
            f"{len(unexpected)} weights have no place in {network} and are left out: "
            f"{first_names(unexpected)}."
        )
    return {k: state_dict.get(k, v) for k, v in expected.items()}


def first_names(names: Iterable[str], count: int = 3) -> str:
    """Join the first few names, and say that there are more."""
    names = list(names)
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _warn(text: str) -> None:
    print_log(text, logger="current", level=logging.WARNING)


def _brief(value: object) -> str:
    """Describe a value that is no state dict."""
    if isinstance(value, Mapping):
        return f"a dict with {first_names(map(str, value))}" if value else "an empty dict"
    return f"a {type(value).__name__}"
