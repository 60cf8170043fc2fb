"""Save checkpoints so that at any moment the last good one is there."""

import functools
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.dist import all_reduce_params, get_world_size, is_distributed, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from afa.engine.checkpoints.carried_config import plain_config
from afa.files.whole_file import write_text
from afa.utils.environment import collect_versions

_PART = ".{}.{}.part"  # name, process
_collect_versions = functools.cache(collect_versions)  # starts git: once is enough


@HOOKS.register_module()
class AFACheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, safe against a stop at any moment.

    Different from mmengine's: a file is written beside its place and moved there; what it
    replaces (``max_keep_ckpts``, the former best) is removed after that, not before; what a kill
    left behind is removed at the next start; the checkpoint of an iteration is saved again after
    its validation, so that a resumed run need not validate again; buffers are averaged over the
    processes before they are saved, so that all of them resume with what they had. Each file
    carries config, versions and batch (``meta``), so that it can be used alone.

    The arguments are those of mmengine's hook; our runner puts this one in its place.
    """

    def before_train(self, runner: Runner) -> None:
        """Find the folder and remove what a stop in the middle of a write has left there."""
        super().before_train(runner)
        self._is_local = isinstance(self.file_backend, LocalBackend)
        if not (self._is_local and is_main_process()):
            return
        for part in Path(self.out_dir).glob(_PART.format("*.pth", "*")):
            part.unlink(missing_ok=True)
        for name in runner.message_hub.runtime_info.get("replaced_ckpts", []):
            self._remove(name)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Save every ``interval`` iterations, with the same buffers in all processes."""
        last = self.save_last and self.is_last_train_iter(runner)
        due = self.every_n_train_iters(runner, self.interval, self.save_begin) or last
        if not self.by_epoch and due and is_distributed():
            all_reduce_params(runner.model.buffers(), op="mean")
        super().after_train_iter(runner, *args, **kwargs)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Save the best, and once more the checkpoint that has just been validated."""
        if not hasattr(self, "_is_local"):
            return  # a validation without training
        if metrics:
            self._save_best_checkpoint(runner, metrics)
        step = runner.epoch if self.by_epoch else runner.iter
        # After a resume it is the file of the earlier process that is to be saved again.
        if self.file_backend.isfile(self._path(self.filename_tmpl.format(step))):
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            self._save_checkpoint_with_step(runner, step, meta)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add what makes the file usable alone; all of it plain data."""
        parts = dict(versions=_collect_versions(), plain_config=plain_config(runner.cfg))
        checkpoint["meta"].update(parts, batch=batch_of(runner))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = self._list_kept(runner, step) if self.max_keep_ckpts > 0 else []
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self._path(name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        kept = ("save_optimizer", "save_param_scheduler", "by_epoch")
        self._write(runner, name, meta, **{key: getattr(self, key) for key in kept}, **self.args)
        if is_main_process():
            write_text(Path(runner.work_dir) / "last_checkpoint", str(self.last_ckpt))
            for old in outdated:
                self._remove(self.filename_tmpl.format(old))

    def _list_kept(self, runner: Runner, step: int) -> list[int]:
        """Note a step among those to keep, and return those that are to be removed."""
        outdated: list[int] = []
        if step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated.append(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
        # The file itself lists one too many: if the process ends before the old one is removed,
        # mmengine removes it when the run is resumed.
        runner.message_hub.update_info("keep_ckpt_ids", [*outdated, *self.keep_ckpt_ids])
        return outdated

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        if not self.save_best:
            return
        if "auto" in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        hub, several = runner.message_hub, len(self.key_indicators) > 1
        for key, rule in zip(self.key_indicators, self.rules, strict=True):
            end = f"_{key}" if several else ""
            score = metrics.get(key)
            if score is None:
                runner.logger.warning(
                    f"save_best wants '{key}', which was not measured: {', '.join(metrics)}."
                )
                continue
            best = hub.runtime_info.get(f"best_score{end}", self.init_value_map[rule])
            if not self.is_better_than[key](score, best):
                continue
            step = runner.epoch if self.by_epoch else runner.iter
            name = f"best_{key}_{self.filename_tmpl.format(step)}".replace("/", "_")
            old = Path(hub.runtime_info.get(f"best_ckpt{end}") or name).name
            replaced = [old] if old != name else []
            hub.update_info(f"best_score{end}", score)
            hub.update_info(f"best_ckpt{end}", self._path(name))
            hub.update_info("replaced_ckpts", replaced)
            if several:  # attributes of mmengine's hook, which publish_keys and others read
                self.best_ckpt_path_dict[key] = self._path(name)
            else:
                self.best_ckpt_path = self._path(name)
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            self._write(runner, name, meta, save_optimizer=False, save_param_scheduler=False,
                        by_epoch=False)  # fmt: skip
            runner.logger.info(f"The best {key} so far, {score:.4f}, is saved to {name}.")
            if is_main_process():
                for file in replaced:
                    self._remove(file)

    def _path(self, name: str) -> str:
        return self.file_backend.join_path(self.out_dir, name)

    def _remove(self, name: str) -> None:
        """Remove a checkpoint of this run's folder; what lies elsewhere is another run's."""
        with suppress(FileNotFoundError):
            self.file_backend.remove(self._path(name))

    def _write(self, runner: Runner, name: str, meta: dict, **options: Any) -> None:
        """Save to a name beside the right one and move the file there.

        Raises:
            OSError: If it cannot be written; what was there before is still there.
        """
        options.update(file_client_args=self.file_client_args, backend_args=self.backend_args)
        if not self._is_local:
            runner.save_checkpoint(self.out_dir, name, meta=meta, **options)
            return
        part, path = Path(self._path(_PART.format(name, os.getpid()))), Path(self._path(name))
        try:
            runner.save_checkpoint(self.out_dir, part.name, meta=meta, **options)
            if is_main_process():
                os.replace(part, path)
        except OSError as error:
            raise OSError(
                f"The checkpoint '{path}' cannot be written ({error.strerror or error}); the ones "
                "before it are as they were: make room (or mend the folder's permissions) and "
                "start again with --resume."
            ) from error
        finally:
            part.unlink(missing_ok=True)  # what a failure has left


def batch_of(runner: Runner) -> dict[str, int]:
    """Tell how many images a step of a training takes: ``per_process`` and ``processes``."""
    per_process = getattr(runner.train_dataloader, "batch_size", None) or 0
    return dict(per_process=int(per_process), processes=get_world_size())
