"""Write down a training step, with all that it depends on, and compute it again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from mmseg.registry import MODELS, OPTIM_WRAPPERS
from mmseg.structures import SegDataSample

from afa.engine.checkpoints.carried_config import checked_config, plain_config
from afa.engine.checkpoints.fit import check_checkpoint
from afa.engine.dist import unwrapped
from afa.utils.checkpoint import load_state, save_state
from afa.utils.evaluating import set_random_states

_ELEMENT = "data element"
_KEYS = ("iteration", "process", "losses", "batch", "random", "state_dict", "phase", "config")


def write_step_dump(
    path: Path, runner: Runner, batch: Any, states: dict[str, Any], losses: dict[str, float]
) -> Path:
    """Write a step that is being made; the weights must be those before its update.

    Args:
        path: The file; it is returned.
        runner: The runner of the training.
        batch: The batch as the loader gave it.
        states: The states of the random generators at the start of the step.
        losses: What the step has computed.

    Raises:
        OSError: If it cannot be written.
    """
    model = unwrapped(runner.model)
    dump = dict(
        kind="afa step",
        iteration=runner.iter,
        process=runner.rank,
        losses=losses,
        batch=_pack(batch),
        random=states,
        state_dict={name: value.cpu() for name, value in model.state_dict().items()},
        phase=getattr(model, "phase", None),
        config=plain_config(runner.cfg),
    )
    save_state(dump, path)
    return path


def loss_numbers(losses: Mapping[str, Any]) -> dict[str, float]:
    """Return each loss as mmengine sums it."""
    lists = {k: v if isinstance(v, (list, tuple)) else [v] for k, v in losses.items()}
    return {name: float(sum(v.detach().mean() for v in values)) for name, values in lists.items()}


def image_names(batch: Any) -> list[str]:
    """Name the images of a batch, as far as its samples say where they are from."""
    samples = batch.get("data_samples", []) if isinstance(batch, Mapping) else []
    metas = [getattr(sample, "metainfo", {}) for sample in samples]
    names = [meta.get("img_id") or meta.get("img_path") for meta in metas]
    return [str(name) for name in names if name]


def _pack(value: Any) -> Any:
    """Turn what a batch is made of into tensors and plain data."""
    if isinstance(value, BaseDataElement):
        fields = {name: _pack(item) for name, item in value.items()}
        meta = {name: _pack(item) for name, item in value.metainfo_items()}
        return {_ELEMENT: type(value).__name__, "fields": fields, "meta": meta}
    if isinstance(value, Mapping):
        return {str(key): _pack(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(item) for item in value]
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()  # not the storage that it may be a part of
    return value if value is None or type(value) in (bool, int, float, str) else str(value)


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _ELEMENT not in value:
        return {name: _unpack(item) for name, item in value.items()}
    kinds = {kind.__name__: kind for kind in (SegDataSample, *BaseDataElement.__subclasses__())}
    element = kinds[value[_ELEMENT]]()
    element.set_metainfo({name: _tuples(item) for name, item in _unpack(value["meta"]).items()})
    element.set_data(_unpack(value["fields"]))
    return element


def _tuples(value: Any) -> Any:
    """Make tuples of the lists in metainfo (shapes, boxes), as pipelines give them."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def replay_step(path: str | Path, config: Config | None = None) -> dict[str, Any]:
    """Compute the losses of a written step again, on the CPU.

    Args:
        path: The file that `NonFiniteHook` wrote.
        config: The config of the run, for a file that could not take it along.

    Returns:
        ``iteration``, ``process``, ``images``, the ``losses`` that the run had, and those
        ``replayed``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no written step, or its config may not be used.
    """
    dump = load_state(path)
    if not isinstance(dump, dict) or dump.get("kind") != "afa step":
        raise ValueError(f"'{path}' is no step that NonFiniteHook wrote: give one of non_finite/.")
    missing = [key for key in _KEYS if key not in dump]
    if missing:
        raise ValueError(f"'{path}' is a step without {', '.join(missing)}: give a whole one.")
    if config is None and not dump["config"]:
        raise ValueError(f"'{path}' carries no config: give that of the run (--config).")
    cfg = config if config is not None else _config(dump["config"], str(path))
    init_default_scope("mmseg")
    model = MODELS.build(cfg.model)
    model.load_state_dict(check_checkpoint(model, dump, str(path)))
    if dump["phase"] is not None:
        model.set_phase(dump["phase"])
    model.train()
    wrapper = dict(cfg.get("optim_wrapper") or {})
    kind = OPTIM_WRAPPERS.get(wrapper.get("type", "OptimWrapper"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    batch = _unpack(dump["batch"])
    with kind(optimizer=optimizer).optim_context(model):
        set_random_states(dump["random"])
        data = model.data_preprocessor(batch, True)
        losses = model._run_forward(data, mode="loss")
    known = {key: dump[key] for key in ("iteration", "process", "losses")}
    return dict(**known, images=image_names(batch), replayed=loss_numbers(losses))


def _config(data: dict[str, Any], origin: str) -> Config:
    is_bf16 = (data.get("optim_wrapper") or {}).get("type") == "BF16OptimWrapper"
    wrapper = dict(type="BF16OptimWrapper" if is_bf16 else "OptimWrapper")
    return Config(dict(checked_config(data, origin), optim_wrapper=wrapper))
