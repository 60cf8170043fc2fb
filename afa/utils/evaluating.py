"""Evaluate a model in the middle of its training and leave everything as it was."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def keep_random_state() -> Iterator[None]:
    """Give the random states of Python, numpy and torch (CPU and GPU in use) back at the end."""
    python, numpy = random.getstate(), np.random.get_state()
    in_use = torch.cuda.is_available() and torch.cuda.is_initialized()
    try:
        with torch.random.fork_rng([torch.cuda.current_device()] if in_use else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


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
