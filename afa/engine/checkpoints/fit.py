"""Check that a checkpoint fits a model before it is loaded."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from afa.utils.class_names import beside, clean_name


class CheckpointError(ValueError):
    """A checkpoint that does not fit."""

    exit_status = 1


def some_names(names: Sequence[str], limit: int = 3) -> str:
    """Write down the first names of a list, and how many more there are."""
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def dataset_meta(checkpoint: dict[Any, Any]) -> dict[str, Any]:
    """Give what a checkpoint says of its data set; entries of other kinds are left out.

    Returns:
        ``classes``, a list of texts, and ``palette``, a list of colours, where there are any.
    """
    meta = checkpoint.get("meta")
    found = meta.get("dataset_meta") if isinstance(meta, dict) else None
    found = found if isinstance(found, dict) else {}
    classes, palette = found.get("classes"), found.get("palette")
    known: dict[str, Any] = {}
    if isinstance(classes, (list, tuple)) and all(isinstance(name, str) for name in classes):
        known["classes"] = [clean_name(name) for name in classes]
    if isinstance(palette, (list, tuple)) and all(_is_color(color) for color in palette):
        known["palette"] = [list(color) for color in palette]
    return known


def _is_color(color: Any) -> bool:
    return (
        isinstance(color, (list, tuple))
        and len(color) == 3
        and all(isinstance(part, int) and 0 <= part < 256 for part in color)
    )


def check_checkpoint(
    model: nn.Module, checkpoint: Any, path: str, classes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Check that a checkpoint has the weights of a model, no more and no fewer.

    Args:
        model: The model, not wrapped.
        checkpoint: What was loaded from the file.
        path: The file, for the message.
        classes: The classes of the data set, compared with those the checkpoint was trained on.

    Returns:
        Its weights by name, without the prefix of several processes.

    Raises:
        CheckpointError: If it does not fit; the text says where.
    """
    own, state = model.state_dict(), _weights(checkpoint, path)
    trained = dataset_meta(checkpoint).get("classes")
    if trained and classes and list(trained) != list(classes):
        raise CheckpointError(
            f"Checkpoint '{path}' was trained for {len(trained)} classes ({some_names(trained)}), "
            f"but the data set has {len(classes)} ({some_names(classes)})"
            f"{_first_other(trained, classes)}: use the config it was trained with."
        )
    # Batch norm's counters are missing in many published files, and mean nothing.
    missing = [k for k in own if k not in state and "num_batches_tracked" not in k]
    unknown = [k for k in state if k not in own]
    shapes = [
        f"{k} has shape {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    parts = []
    if missing:
        parts.append(f"{len(missing)} of {len(own)} keys are missing ({some_names(missing)})")
    if unknown:
        parts.append(f"{len(unknown)} keys are unknown to the model ({some_names(unknown)})")
    if shapes:
        parts.append(some_names(shapes))
    if parts:
        raise CheckpointError(
            f"Checkpoint '{path}' does not fit the model: {'; '.join(parts)}. Use the config it "
            "was trained with, or convert it first (tools/model_converters)."
        )
    return state


def _first_other(trained: Sequence[str], classes: Sequence[str]) -> str:
    """Say where two lists of the same length begin to differ."""
    if len(trained) != len(classes):
        return ""
    was, now = next(pair for pair in zip(trained, classes, strict=True) if pair[0] != pair[1])
    return f"; {beside(was, now)} is {beside(now, was)} here"


def check_start(model: nn.Module, checkpoint: Any, path: str) -> None:
    """Check that a training can begin with the weights of a checkpoint: some must be the model's.

    Others may be missing or too many, as where a model learns a new task; but weights of which
    none fits would be passed over silently. The arguments are those of :func:`check_checkpoint`.

    Raises:
        CheckpointError: If none fits.
    """
    state, own = _weights(checkpoint, path), model.state_dict()
    if not any(key in own and value.shape == own[key].shape for key, value in state.items()):
        raise CheckpointError(
            f"No weight of '{path}' fits the model ({some_names(list(state)) or 'it has none'}): "
            "take another load_from, or convert it first (tools/model_converters)."
        )


def _weights(checkpoint: Any, path: str) -> dict[str, Any]:
    """Return the weights of a checkpoint by name, without the prefix of several processes."""
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"'{path}' is no checkpoint: it holds {type(checkpoint).__name__}.")
    state = checkpoint.get("state_dict", checkpoint)
    if not isinstance(state, dict):
        raise CheckpointError(
            f"'{path}' is no checkpoint: its state_dict is {type(state).__name__}, not a dict of "
            "tensors."
        )
    return {str(k).removeprefix("module."): v for k, v in state.items() if hasattr(v, "shape")}
