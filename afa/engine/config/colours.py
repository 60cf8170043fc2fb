"""How images are normalised: as the weights of the backbone were trained, unless a config says."""

import logging
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmseg.registry import MODELS

_CLOSE = 1.0  # of 255: published means are rounded


def fill_colours(cfg: Config) -> None:
    """Give the data preprocessor the mean and standard deviation of the backbone's weights.

    Only backbones with ``colours(name)`` know them (:class:`TimmBackbone`). Other values of a
    config stay, and a warning names both.
    """
    model = cfg.get("model")
    backbone = model.get("backbone") if isinstance(model, dict) else None
    if not isinstance(backbone, dict) or not isinstance(backbone.get("type"), str):
        return
    colours = getattr(MODELS.get(backbone["type"]), "colours", None)
    wanted = colours(backbone.get("name")) if colours else None
    preprocessor: Any = model.get("data_preprocessor") or cfg.get("data_preprocessor")
    if wanted is None or not isinstance(preprocessor, dict):
        return
    given = [preprocessor.get(key) for key in ("mean", "std")]
    if given == [None, None]:
        preprocessor.update(mean=wanted[0], std=wanted[1])
    elif not np.allclose(given, wanted, atol=_CLOSE):
        print_log(
            f"model.data_preprocessor has mean {given[0]} and std {given[1]}, but the weights of "
            f"{backbone.get('name')} were trained with {wanted[0]} and {wanted[1]}: leave both out "
            "to take these, unless the weights of your file were trained otherwise.",
            logger="current",
            level=logging.WARNING,
        )
