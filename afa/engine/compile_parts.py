"""torch.compile of those parts of a model that are pure networks, while they train.

Evaluation runs them as they are: photos have any size, and after eight of them torch would stop
compiling without a word.
"""

import os
import shutil
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._triton import has_triton


def compile_parts(model: nn.Module, options: bool | Mapping[str, Any] | None) -> list[str]:
    """Compile the networks of a segmentor in place; names and weights stay as they are.

    Those are its children that learn something. mmengine compiles all of ``train_step``; around
    the networks stand argmax, thresholds and counts, which a compiler breaks off at.

    Args:
        model: the segmentor.
        options: ``True``, or arguments of ``torch.compile``; ``None`` or ``False`` for nothing.

    Returns:
        Names of what is compiled, with the first batch that it sees.

    Raises:
        ValueError: if torch.compile has no such argument, or there is nothing to compile with.
    """
    if options is None or options is False:
        return []
    arguments = {} if options is True else dict(options)
    if arguments.get("backend", "inductor") == "inductor":
        _check_compiler(next(model.parameters()).device)
    names = [name for name, part in model.named_children() if any(True for _ in part.parameters())]
    for name in names:
        try:
            _compile_training(getattr(model, name), arguments)
        except (TypeError, RuntimeError) as error:
            raise ValueError(
                f"compile={arguments} is not what torch.compile takes ({error}): give True or its "
                "arguments, such as dict(mode='max-autotune')."
            ) from error
    return names


def _compile_training(part: nn.Module, arguments: dict[str, Any]) -> None:
    """Compile a module, used in training mode only."""
    part.compile(**arguments)
    compiled = part._compiled_call_impl

    def call(*args: Any, **kwargs: Any) -> Any:
        return (compiled if part.training else part._call_impl)(*args, **kwargs)

    part._compiled_call_impl = call


def _check_compiler(device: torch.device) -> None:
    """Say at the start what torch would say after minutes, in many lines."""
    if device.type == "cuda" and not has_triton():
        raise ValueError("compile=True needs Triton on a GPU: install it, or leave compile out.")
    compilers = [os.environ.get("CXX"), "g++", "clang++"]
    if device.type == "cpu" and not any(shutil.which(name) for name in compilers if name):
        raise ValueError(
            "compile=True needs a C++ compiler (g++ or clang++) on CPU: install one, or leave "
            "compile out."
        )
