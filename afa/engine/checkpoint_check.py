"""Check that a checkpoint fits a model before it is loaded."""

from collections.abc import Sequence
from typing import Any

from torch import nn


class CheckpointError(ValueError):
    """A checkpoint that does not fit."""

    exit_status = 1


def _some(names: Sequence[str], limit: int = 3) -> str:
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def _differences(own: dict[str, Any], state: dict[str, Any]) -> list[str]:
    # Batch norm's counters are missing in many published files, and mean nothing.
    missing = [k for k in own if k not in state and "num_batches_tracked" not in k]
    unexpected = [k for k in state if k not in own]
    shapes = [
        f"{k} has shape {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    parts = []
    if missing:
        parts.append(f"{len(missing)} of {len(own)} keys are missing ({_some(missing)})")
    if unexpected:
        parts.append(f"{len(unexpected)} keys are unknown to the model ({_some(unexpected)})")
    if shapes:
        parts.append(_some(shapes))
    return parts


def check_checkpoint(
    model: nn.Module, checkpoint: Any, path: str, classes: Sequence[str] | None = None
) -> None:
    """Check that a checkpoint has the weights of a model, no more and no fewer.

    Args:
        model: The model, not wrapped.
        checkpoint: What was loaded from the file.
        path: The file, for the message.
        classes: The classes of the data set, compared with those the checkpoint was trained on.

    Raises:
        CheckpointError: If it does not fit; the text says where.
    """
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"'{path}' is no checkpoint: it holds {type(checkpoint).__name__}.")
    meta = checkpoint.get("meta")
    trained = (meta.get("dataset_meta") or {}).get("classes") if isinstance(meta, dict) else None
    if trained and classes and list(trained) != list(classes):
        raise CheckpointError(
            f"Checkpoint '{path}' was trained for {len(trained)} classes ({_some(trained)}), but "
            f"the data set has {len(classes)} ({_some(classes)}): use the config it was "
            "trained with."
        )
    state = checkpoint.get("state_dict", checkpoint)
    state = {k.removeprefix("module."): v for k, v in state.items() if hasattr(v, "shape")}
    parts = _differences(model.state_dict(), state)
    if parts:
        raise CheckpointError(
            f"Checkpoint '{path}' does not fit the model: {'; '.join(parts)}. Use the config it "
            "was trained with, or convert it first (tools/model_converters)."
        )
