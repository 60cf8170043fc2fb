"""Heads take the number of their input channels from the backbone, unless a config gives it."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import nn

from afa.utils.evaluating import evaluating
from afa.utils.settings import parameters_of

_SIDE = 64  # of the image that tells the channels of a backbone that does not say them


def with_channels(head: dict, place: str, backbone: nn.Module, in_index: Any = None) -> dict:
    """Complete the config of a head that gets the feature maps of a backbone.

    Args:
        head: Its config; without ``in_channels`` (or with None) they are those of the maps.
        place: How the user calls it, such as 'model.cls_head'.
        backbone: The backbone. ``out_channels``, a list of the channels of its maps, says what it
            gives; one that does not say it (mmseg's) computes a small image.
        in_index: The map that the head gets; None for what its own ``in_index`` says.

    Returns:
        The config with ``in_channels``, if the head takes them.

    Raises:
        ValueError: If the backbone has no such map, or the given channels are others.
    """
    arguments = _arguments(head)
    if in_index is None:
        own = getattr(arguments.get("in_index"), "default", inspect.Parameter.empty)
        in_index = head.get("in_index", -1 if own is inspect.Parameter.empty else own)
    levels = getattr(backbone, "out_channels", None)
    if not isinstance(levels, (list, tuple)):
        if head.get("in_channels") is not None or "in_channels" not in arguments:
            return head
        levels = _measured_channels(backbone)
    name = type(backbone).__name__
    try:
        several = isinstance(in_index, (list, tuple))
        found = [levels[i] for i in in_index] if several else levels[in_index]
    except IndexError as error:
        raise ValueError(
            f"{place} takes the map {in_index} of the backbone (in_index), but {name} gives "
            f"{len(levels)}: change in_index, or the backbone's out_indices"
        ) from error
    return with_known_channels(head, place, found, f"{name} gives {found} there")


def with_known_channels(head: dict, place: str, found: Any, origin: str) -> dict:
    """Complete the config of a head whose input channels are known.

    Args:
        head: Its config.
        place: How the user calls it.
        found: Its input channels, a number or a list; None where nobody knows them.
        origin: Where they come from, a clause for the message.

    Returns:
        The config with ``in_channels``, if the head takes them.

    Raises:
        ValueError: If the config has others.
    """
    given = head.get("in_channels")
    if given is not None and found is not None and _plain(given) != _plain(found):
        raise ValueError(
            f"{place}.in_channels is {given}, but {origin}: leave in_channels out, and it is taken "
            "from there"
        )
    if given is None and found is not None and "in_channels" in _arguments(head):
        return {**head, "in_channels": found}
    return head


def _arguments(head: dict) -> dict[str, Any]:
    """Return the parameters of the class of a head; none where there is no such class."""
    kind = head.get("type")
    component = MODELS.get(kind) if isinstance(kind, str) else kind
    return {} if component is None else parameters_of(component)


def _measured_channels(backbone: nn.Module) -> Sequence[int]:
    """Channels of the maps that a backbone gives for a small image."""
    weight = next(backbone.parameters())
    with evaluating(backbone):
        levels = backbone(torch.zeros(1, 3, _SIDE, _SIDE, device=weight.device))
    return [level.shape[1] for level in levels]


def _plain(channels: Any) -> Any:
    return list(channels) if isinstance(channels, (list, tuple)) else channels
