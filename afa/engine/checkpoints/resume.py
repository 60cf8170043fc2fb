"""Choose the checkpoint that a run goes on from."""

import os
from pathlib import Path
from typing import Any

from mmengine.runner import CheckpointLoader, Runner

from afa.engine.checkpoints.fit import CheckpointError, check_checkpoint
from afa.engine.dist import unwrapped
from afa.engine.hooks.checkpoint_hook import batch_of
from afa.utils.first_process import first_process


def checkpoints(work_dir: str | os.PathLike) -> list[Path]:
    """List the checkpoints that a training has left in its folder to go on from, newest first.

    They are ``iter_*.pth`` and ``epoch_*.pth`` by time of change, and what ``last_checkpoint``
    names where that is in another folder. Best ones are not among them: they hold weights alone.
    """
    work = Path(work_dir)
    found = [path for kind in ("iter", "epoch") for path in work.glob(f"{kind}_*.pth")]
    pointer = work / "last_checkpoint"
    if pointer.is_file():
        named = Path(pointer.read_text(errors="replace").strip() or work)
        if named.is_file() and named.resolve() not in [path.resolve() for path in found]:
            found.append(named)
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def check_resumable(runner: Runner, path: str, classes: list[str] | None) -> None:
    """Check that a training can go on from a checkpoint.

    Args:
        runner: The runner of the training.
        path: The checkpoint.
        classes: The classes of its data set, if they are known.

    Raises:
        CheckpointError: If it is another model's, or holds too little.
        ValueError: If it cannot be read.
    """
    checkpoint = CheckpointLoader.load_checkpoint(path, "cpu", logger="silent")
    check_checkpoint(unwrapped(runner.model), checkpoint, path, classes)
    meta = checkpoint.get("meta")
    missing = [key for key in ("optimizer", "message_hub") if key not in checkpoint]
    if not isinstance(meta, dict) or not {"iter", "epoch"} <= set(meta) or missing:
        raise CheckpointError(
            f"Checkpoint '{path}' holds weights, but not the state of a training "
            f"({', '.join(missing or ['iteration'])}): a run cannot go on from it; to start a new "
            "one with its weights, give --cfg-options load_from=CHECKPOINT."
        )
    _compare_batch(runner, meta, path)


def _compare_batch(runner: Runner, meta: dict[str, Any], path: str) -> None:
    """Warn if a step takes another number of images than it did."""
    was, now = meta.get("batch"), batch_of(runner)
    if not isinstance(was, dict) or not all(isinstance(was.get(key), int) for key in now):
        return
    totals = [one["per_process"] * one["processes"] for one in (was, now)]
    if totals[0] != totals[1]:
        runner.logger.warning(
            f"'{path}' was trained with {totals[0]} images a step ({was['processes']} processes of "
            f"{was['per_process']}), this run takes {totals[1]} ({now['processes']} of "
            f"{now['per_process']}): it goes on elsewhere in the order of the images."
        )


def resume_from_newest(runner: Runner, classes: list[str] | None = None) -> None:
    """Tell a runner to go on from the newest good checkpoint of its work dir, if there is any.

    The first process chooses for all.

    Raises:
        CheckpointError: If there are checkpoints, but none is good: what was trained must not be
            overwritten by a run from the start.
    """
    path = first_process(lambda: _newest_good(runner, classes))
    if path is None:
        runner.logger.warning(
            f"There is no checkpoint in {runner.work_dir}: training starts from the beginning."
        )
        return
    runner._resume, runner._load_from = True, path
    runner.cfg.resume, runner.cfg.load_from = True, path
    runner.logger.info(f"The run goes on from '{path}'.")


def _newest_good(runner: Runner, classes: list[str] | None) -> str | None:
    """Return the newest checkpoint that is good, and name those that are not."""
    found, faults = checkpoints(runner.work_dir), []
    for path in found:
        try:
            check_resumable(runner, str(path), classes)
            return str(path)
        except (ValueError, OSError) as error:
            faults.append(str(error))
            runner.logger.warning(f"'{path}' is passed over: {error}")
    if not faults:
        return None
    raise CheckpointError(
        f"None of the {len(found)} checkpoints in '{runner.work_dir}' can be gone on from; the "
        f"newest: {faults[0]} To start from the beginning, give another --work-dir."
    )
