"""Evaluate a model in the middle of its training and leave it, and random states, as they were."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn


def random_states() -> dict[str, Any]:
    """Return the states of the random generators as plain data and tensors."""
    kind, keys, *rest = np.random.get_state()
    states: dict[str, Any] = dict(
        python=random.getstate(),
        numpy=(kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: dict[str, Any]) -> None:
    """Put the random generators into the states that :func:`random_states` gave."""
    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


@contextmanager
def keep_random_state() -> Iterator[None]:
    """Give the random states of Python, numpy and torch (CPU and GPU in use) back at the end."""
    states = random_states()
    try:
        yield
    finally:
        set_random_states(states)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run a model in evaluation mode without gradients, then restore every part of it.

    Parts may differ (norm layers that stay in evaluation mode), so that each part's flag is kept.
    """
    flags = {module: module.training for module in model.modules()}
    phase = getattr(model, "phase", None)
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in flags.items():
            module.training = training
        if phase is not None:
            model.phase = phase
