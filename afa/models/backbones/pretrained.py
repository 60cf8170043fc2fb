"""Weights on their way from a file into a network: found, fitted, and what does not fit is named.

Backbones take the part that is theirs (`PretrainedBackbone`), the converters whole models
(`NamedWeights`). Which names there are in circulation is the matter of each network. State dicts
(name to tensor) that come in are left as they are.
"""

import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule, kaiming_init
from torch import Tensor, nn

from afa.utils.checkpoint import load_state, refuse_non_finite

_MAX_DEPTH = 8  # of checkpoints in checkpoints; a damaged file may hold itself
_WRAPPERS = ("state_dict", "model", "model_state_dict")
# Counts of batches matter to no computation here; files of an old torch do not have them.
_COUNT = "num_batches_tracked"

T = TypeVar("T")


class PretrainedBackbone(BaseModule):
    """A backbone that begins with drawn weights, or with those of a file in any known layout.

    A subclass says how to draw them, and how to fit what a file holds. mmengine's own loader may
    run code of the file.

    Args:
        init_cfg: None for drawn weights, or dict(type='Pretrained', checkpoint=PATH).

    Raises:
        ValueError: If `init_cfg` is anything else.
    """

    read_file: Callable[[str | os.PathLike], object] = staticmethod(load_state)

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if init_cfg is None:
            return
        if set(init_cfg) != {"type", "checkpoint"} or init_cfg["type"] != "Pretrained":
            raise ValueError(
                "init_cfg must be None or dict(type='Pretrained', checkpoint=PATH) (prefixes in "
                f"the file are found without being named), but got {init_cfg!r}."
            )

    def init_weights(self) -> None:
        """Load the weights that `init_cfg` names, or draw them.

        Raises:
            FileNotFoundError: If the checkpoint does not exist.
            ValueError: If the checkpoint cannot be read, or its weights do not fit this network.
        """
        if self.init_cfg is None:
            self.draw_weights()
        else:
            path = self.init_cfg["checkpoint"]
            self.load_state_dict(read_converted(path, self.fit, self.read_file))
        self._is_init = True

    def draw_weights(self) -> None:
        """Draw the weights that the network begins with where no file is named."""
        raise NotImplementedError

    def fit(self, state: object) -> dict[str, Tensor]:
        """Turn what a file holds into a state dict with exactly the names of this backbone.

        Raises:
            ValueError: If the weights do not fit.
        """
        raise NotImplementedError


class SixLevelBackbone(PretrainedBackbone):
    """A convolutional network of six levels, which gives some and may keep the first as they are.

    A subclass has `widths`, the channels of its levels times `base_channels`, and `example`, levels
    that could be given; it documents the arguments, and calls `train()` when it is built.
    """

    widths: ClassVar[tuple[int, ...]]
    example: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        out_indices: Sequence[int],
        frozen_stages: int,
        base_channels: int,
        init_cfg: dict | None,
    ) -> None:
        super().__init__(init_cfg)
        name, levels = type(self).__name__, list(out_indices)
        if not levels or levels != sorted(set(levels)) or not 0 <= levels[0] <= levels[-1] <= 5:
            raise ValueError(
                f"{name}: out_indices must be levels 0 to 5, ascending, e.g. {self.example}, but "
                f"got {out_indices!r}."
            )
        if not -1 <= frozen_stages <= 6:
            raise ValueError(f"{name}: frozen_stages must be -1 to 6, but got {frozen_stages!r}.")
        if base_channels < 1:
            raise ValueError(
                f"{name}: base_channels must be at least 1, but got {base_channels!r}."
            )
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.level_channels = tuple(base_channels * width for width in self.widths)

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of the maps that ``forward`` gives, in their order."""
        return tuple(self.level_channels[i] for i in self.out_indices)

    def frozen(self) -> list[nn.Module]:
        """List the modules that do not learn."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Any:
        """Switch to training or evaluation; what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self.frozen():
            module.eval().requires_grad_(False)
        return self

    def draw_weights(self) -> None:
        """Draw the weights as He et al. do."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                kaiming_init(module)


def read_converted(
    path: str | os.PathLike,
    convert: Callable[[object], T],
    read: Callable[[str | os.PathLike], object] = load_state,
) -> T:
    """Convert what a file of weights holds; an error of `convert` names the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read, or its weights do not fit.
    """
    state = read(path)
    try:
        return convert(state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def unwrap_state_dict(state: object) -> dict[str, Tensor]:
    """Find the tensors in what a checkpoint file holds.

    Args:
        state: A dict of tensors, alone or inside a checkpoint under 'state_dict' or 'model'.

    Returns:
        The named tensors; other entries are left out.

    Raises:
        ValueError: If there are none, or some are not finite.
    """
    entries: Mapping[Any, Any] = state if isinstance(state, Mapping) else {}
    for _ in range(_MAX_DEPTH):
        inner = [entries[k] for k in _WRAPPERS if isinstance(entries.get(k), Mapping)]
        if inner:
            state = entries = inner[0]
    tensors = {k: v for k, v in entries.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not tensors:
        raise ValueError(f"The weights must be a dict of named tensors, but got {_brief(state)}.")
    refuse_non_finite(tensors)
    return tensors


def find_backbone(
    state: object,
    anchors: Mapping[str, re.Pattern[str]],
    network: str,
    examples: str,
    heads: Collection[str] = (),
) -> tuple[str, dict[str, Tensor]]:
    """Find a backbone in what a checkpoint file holds, and log what else there is.

    Args:
        state: Named tensors, possibly inside a checkpoint; see `unwrap_state_dict`.
        anchors: Layout to a pattern of one weight that every file of it has; group 1 is the prefix
            below which the backbone lies.
        network: Name of the network, for the messages.
        examples: The names that were looked for, for the messages.
        heads: First parts of names that are no backbone's, although they are below the prefix.

    Returns:
        The layout, and the weights of the backbone without the prefix.

    Raises:
        ValueError: If the network is not there, or several times.
    """
    tensors = unwrap_state_dict(state)
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
    layout, prefix = found.pop()
    backbone = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    left_out = {k for k in backbone if k.split(".")[0] in heads}
    others = left_out | {k for k in tensors if not k.startswith(prefix)}
    if others:
        parts = sorted({k.removeprefix("module.").split(".")[0] for k in others})
        _log(f"Left out {len(others)} weights that are not the backbone's: {', '.join(parts)}.")
    return layout, {k: v for k, v in backbone.items() if k not in left_out}


def fit_weights(
    state_dict: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    network: str,
    optional: Collection[str] = (),
    is_larger: bool = False,
    hint: str = "",
) -> dict[str, Tensor]:
    """Check weights against the backbone that takes them.

    Args:
        state_dict: Weights under the names of the backbone.
        expected: State dict of the backbone.
        network: Name of the network, for the messages.
        optional: Names that may be missing, all of them together or none.
        is_larger: The weights are known to be of a network with more blocks.
        hint: A sentence that follows where the weights do not fit.

    Returns:
        The weights under exactly the names of `expected`, from there where they may be missing.

    Raises:
        ValueError: If a weight is missing or has another shape, or the network is larger.
    """
    drawn = set() if set(optional) & set(state_dict) else set(optional)
    missing = [k for k in expected if k not in state_dict and k not in drawn and _COUNT not in k]
    misfits = [
        f"{k} is {tuple(state_dict[k].shape)} instead of {tuple(v.shape)}"
        for k, v in expected.items()
        if k in state_dict and state_dict[k].shape != v.shape
    ]
    problems = [f"{len(missing)} missing ({first_names(missing)})"] if missing else []
    problems += [f"{len(misfits)} of another shape ({first_names(misfits)})"] if misfits else []
    if is_larger and not problems:
        problems = ["the weights have more blocks"]
    if problems:
        sentence = f"The weights do not fit {network}: {', '.join(problems)}."
        raise ValueError(f"{sentence} {hint}".rstrip())
    if drawn:
        names = first_names(sorted(drawn), 4)
        text = f"The file does not have, and training begins with drawn numbers in: {names}."
        _log(text, logging.WARNING)
    unexpected = [k for k in state_dict if k not in expected]
    if unexpected:
        text = f"{len(unexpected)} weights have no place in {network} and are left out: "
        _log(f"{text}{first_names(unexpected)}.", logging.WARNING)
    return {k: state_dict.get(k, v) for k, v in expected.items()}


class NamedWeights:
    """The weights of another program's checkpoint, while they are converted.

    Args:
        tensors: Name to tensor; left as it is.
        model: What the weights are converted for, for the messages.
        program: Whose program wrote them, for the messages.

    Attributes:
        tensors: What nobody has taken yet.
        problems: What did not fit so far.
    """

    def __init__(self, tensors: Mapping[str, Tensor], model: str, program: str) -> None:
        self.tensors = dict(tensors)
        self.problems: list[str] = []
        self._model = model
        self._program = program

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Remove and return a weight; a negative number in `shape` fits any size.

        In the place of one that does not fit stands a small one of zeros.
        """
        value = self.tensors.pop(name, None)
        wanted = tuple("any" if size < 0 else size for size in shape)
        if value is None:
            self.problems.append(f"{name} is missing")
        elif value.ndim != len(shape) or any(
            0 <= size != given for size, given in zip(shape, value.shape, strict=True)
        ):
            self.problems.append(f"{name} is {tuple(value.shape)} instead of {wanted}")
        else:
            return value
        return torch.zeros([max(size, 1) for size in shape])

    def take_below(self, prefix: str) -> dict[str, Tensor]:
        """Remove and return all weights below a prefix, without it."""
        names = [k for k in self.tensors if k.startswith(prefix)]
        return {k.removeprefix(prefix): self.tensors.pop(k) for k in names}

    def finish(self) -> None:
        """Log what nobody took.

        Raises:
            ValueError: If something did not fit; the first five are named.
        """
        if self.problems:
            raise ValueError(
                f"The weights do not fit {self._model} ({len(self.problems)} problems): "
                f"{first_names(self.problems, 5)}. A checkpoint of {self._program} is needed."
            )
        if self.tensors:
            names = ", ".join(self.tensors)
            _log(f"Left out, unknown to {self._model}: {names}.")


def first_names(names: Iterable[str], count: int = 3) -> str:
    """Join the first few names, and say that there are more."""
    names = list(names)
    return ", ".join(names[:count] + ["..."] * (len(names) > count))


def _log(text: str, level: int = logging.INFO) -> None:
    print_log(text, logger="current", level=level)


def _brief(value: object) -> str:
    """Describe a value that is no state dict."""
    if isinstance(value, Mapping):
        return f"a dict with {first_names(map(str, value))}" if value else "an empty dict"
    return f"a {type(value).__name__}"
