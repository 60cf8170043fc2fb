"""Run the stages of a multi-stage method, one after the other, each as a command of its own."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from prettytable import PrettyTable

from afa.engine.config import load_config
from afa.engine.config.components import nearest
from afa.files.whole_file import write_json
from afa.pipelines.stage import Record, Stage, read_figures, read_record

SUMMARY = "pipeline.json"
_LOCK = ".running"
LOCK_SECONDS = 5.0  # data workers of a stage may end a little later than the stage


class StageError(ValueError):
    """A stage that has failed; its own message stands above."""

    exit_status = 1


class Pipeline:
    """Stages in their order, with a work folder that remembers which are finished.

    A finished stage whose settings, and those of all stages it reads, are as they were is skipped.
    One that was stopped goes on. One whose settings have changed begins anew; what it had made is
    moved aside, not removed.

    Args:
        stages: the stages in their order.
        work_dir: folder that gets one folder for each stage.
        method: name of the method, for tables.
        num_processes: processes of every stage; more than 1 starts them with torchrun.

    Attributes:
        trackers: values of ``--tracker`` for the stages that train; what they make is the same.

    Raises:
        ValueError: if two stages have one name, or a stage reads one that does not come before it.
    """

    def __init__(
        self, stages: Sequence[Stage], work_dir: str | Path, method: str, num_processes: int = 1
    ) -> None:
        self.stages = list(stages)
        self.work_dir = Path(work_dir).resolve()
        self.method = method
        self.num_processes = num_processes
        self.trackers: list[str] = []
        if num_processes < 1:
            raise ValueError(f"--num-processes must be 1 or more, got {num_processes}.")
        names: list[str] = []
        for stage in self.stages:
            for name in stage.reads():
                if name not in names:
                    raise ValueError(
                        f"Stage '{stage.name}' reads '{name}', which is no stage before it; these "
                        f"are: {', '.join(names) or 'none'}."
                    )
            if stage.name in names:
                raise ValueError(f"Two stages have the name '{stage.name}': rename one.")
            names.append(stage.name)
        self.folders = {
            name: self.work_dir / f"{number:02d}_{name}" for number, name in enumerate(names, 1)
        }
        self.fingerprints: dict[str, str] = {}
        for stage in self.stages:
            self.fingerprints[stage.name] = stage.fingerprint(self.fingerprints)

    def state(self, stage: Stage) -> str:
        """Tell whether a stage is ``'new'``, ``'stopped'``, ``'changed'`` or ``'finished'``."""
        record = read_record(self.folders[stage.name])
        if record is None:
            return "new"
        if record.fingerprint != self.fingerprints[stage.name]:
            return "changed"
        return "finished" if record.state == "finished" else "stopped"

    def run(self, first: str | None = None, last: str | None = None) -> list[Record]:
        """Run the stages from ``first`` to ``last``, both included.

        Returns:
            Records of the stages that are finished now.

        Raises:
            ValueError: if there is no such stage, an earlier one is not finished, or another
                process works in the folder.
            StageError: if a stage fails.
        """
        begin = 0 if first is None else self._index(first)
        end = len(self.stages) if last is None else self._index(last) + 1
        for stage in self.stages[:begin]:
            if self.state(stage) != "finished":
                raise ValueError(
                    f"Stage '{first}' comes after '{stage.name}', which is {self.state(stage)}: "
                    f"begin with --from {stage.name}."
                )
        self.work_dir.mkdir(parents=True, exist_ok=True)
        with _locked(self.work_dir / _LOCK) as lock:
            for number in range(begin, end):
                self._run_stage(number, lock)
                self._write_summary()
        return list(self._finished().values())

    def _run_stage(self, number: int, lock: int) -> None:
        """Run one stage unless it is finished."""
        stage = self.stages[number]
        folder, state = self.folders[stage.name], self.state(stage)
        title = f"[{number + 1}/{len(self.stages)}] {stage.name}"
        if state == "finished":
            print(f"{title}: finished before and unchanged, skipped.", flush=True)
            return
        if state == "changed":
            aside = folder.with_name(f"{folder.name}.before-{time.strftime('%Y%m%d-%H%M%S')}")
            folder.rename(aside)
            print(f"{title}: its settings have changed; the old results are in {aside}.")
        folder.mkdir(exist_ok=True)
        resume, command = state == "stopped", stage.command(folder, self.folders)
        begun = Record(self.fingerprints[stage.name], command)
        record = replace(read_record(folder) or begun, command=command, state="running", figures={})
        record.write(folder)
        command = stage.command(folder, self.folders, resume)
        if self.trackers and stage.tool == "train.py":
            command += ["--tracker", *self.trackers]
        print(f"{title}: {'goes on' if resume else 'begins'}\n  {' '.join(command)}", flush=True)
        self._execute(command, record, folder, lock)
        print(f"{title}: finished after {record.seconds:.0f} s.", flush=True)

    def _execute(self, command: list[str], record: Record, folder: Path, lock: int) -> None:
        """Run the command and keep its time and memory, also when it is stopped."""
        if self.num_processes > 1:
            launch = ["-m", "torch.distributed.run", "--standalone"]
            launch += [f"--nproc_per_node={self.num_processes}"]
            command = [command[0], *launch, *command[1:], "--launcher", "pytorch"]
        before, start = record.seconds, time.monotonic()
        record.state = "stopped"
        # The child holds the lock too: should this process be killed, a second pipeline cannot
        # write into the folder while the child still does.
        child = subprocess.Popen(command, pass_fds=[lock])
        try:
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            peak = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
            record.peak_memory_mib = round(max(record.peak_memory_mib, peak), 1)
            if child.returncode == 0:
                record.state, record.figures = "finished", read_figures(folder)
        except KeyboardInterrupt:
            child.wait()  # it has been told to stop as well; let it close its files
            raise
        finally:
            record.seconds = round(before + time.monotonic() - start, 1)
            record.write(folder)
        if child.returncode:
            raise StageError(
                f"The command above ended with status {child.returncode}; mend what it says and "
                "run the same pipeline again: it goes on from there."
            )

    def table(self) -> str:
        """Tabulate every stage with its state, time, peak memory, and figures that are means."""
        table = PrettyTable(["stage", "state", "seconds", "peak MiB", "figures (%)"], align="l")
        for stage in self.stages:
            record, row = read_record(self.folders[stage.name]), ["", "", ""]
            if record is not None:
                means = [
                    f"{name} {value:.1f}"
                    for name, value in record.figures.items()
                    if name.rsplit("/", 1)[-1] in ("mIoU", "F1")
                ]
                row = [f"{record.seconds:.0f}", f"{record.peak_memory_mib:.0f}", ", ".join(means)]
            table.add_row([stage.name, self.state(stage), *row])
        return f"{self.method}, in {self.work_dir}\n{table}"

    def _finished(self) -> dict[str, Record]:
        """Give the records of the stages that are finished and unchanged."""
        names = [stage.name for stage in self.stages if self.state(stage) == "finished"]
        return {name: record for name in names if (record := read_record(self.folders[name]))}

    def _write_summary(self) -> None:
        """Write what is known of all finished stages."""
        stages = {name: asdict(record) for name, record in self._finished().items()}
        trains = [stage.name for stage in self.stages if stage.tool == "train.py"]
        content = dict(method=self.method, num_stages=len(self.stages), networks=trains)
        write_json(self.work_dir / SUMMARY, dict(content, stages=stages))

    def _index(self, name: str) -> int:
        names = [stage.name for stage in self.stages]
        if name not in names:
            hint = nearest(name, names).removeprefix("; ") or f"these are: {', '.join(names)}."
            raise ValueError(f"There is no stage '{name}': {hint}")
        return names.index(name)


def load_pipeline(
    path: str | Path,
    work_dir: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    num_processes: int = 1,
) -> Pipeline:
    """Read a pipeline config: ``method``, and ``stages``, a list of arguments of :class:`Stage`.

    Args:
        path: the config file.
        work_dir: work folder; by default work_dirs/<name of the config>.
        options: options of the stages' configs. A key that begins with the name of a stage
            (``classifier.train_cfg.max_iters``) goes to that stage, any other to all that have a
            config.
        num_processes: processes of every stage.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a pipeline.
    """
    cfg = load_config(str(path))
    stages = cfg.get("stages")
    if not stages or not isinstance(cfg.get("method"), str):
        raise ValueError(
            f"'{path}' is no pipeline: it needs method = 'name' and stages = [dict(name=...)]."
        )
    if not isinstance(stages, (list, tuple)) or not all(_is_stage(entry) for entry in stages):
        raise ValueError(
            f"'{path}' is no pipeline: stages must be a list of dict(name='...', tool='...', ...)."
        )
    names, made = [entry["name"] for entry in stages], []
    for entry in stages:
        own = dict(entry.get("options", {}))
        if entry.get("config") is not None:
            own.update(_options_of(entry["name"], names, options or {}))
        try:
            made.append(Stage(**{**entry, "options": own}))
        except TypeError as error:
            raise ValueError(f"'{path}', stage {entry.get('name')}: {error}.") from error
    return Pipeline(made, work_dir or cfg.work_dir, cfg.method, num_processes)


def _is_stage(entry: Any) -> bool:
    return (
        isinstance(entry, Mapping)
        and all(isinstance(entry.get(key), str) for key in ("name", "tool"))
        and isinstance(entry.get("options") or {}, Mapping)
    )


def _options_of(name: str, names: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the options of a stage: those under its name, and those under no stage's name."""
    picked = {}
    for key, value in options.items():
        head, _, rest = key.partition(".")
        if head == name and rest:
            picked[rest] = value
        elif head not in names:
            picked[key] = value
    return picked


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold a lock file; the lock ends with the last process that has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ValueError(
                        f"Another process works in '{path.parent}' (a stage may have outlived its "
                        "pipeline): wait for it, or stop it."
                    ) from error
            time.sleep(0.1)
        yield descriptor
    finally:
        os.close(descriptor)
