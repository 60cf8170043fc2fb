"""Measure every part of AFA beside the way it is usually computed.

Each part's result is written as soon as it is there: a run that is stopped, or of some parts only,
goes on in the same file.
"""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from afa.apis.benchmark_measure import Case, machine_limits, measure_case
from afa.apis.benchmark_model import Setup, build_setup
from afa.apis.benchmark_options import NEED_PHOTOS, PARTS, BenchmarkOptions
from afa.apis.benchmark_parts import CASES
from afa.apis.benchmark_scaling import measure_scaling, measure_throughput
from afa.apis.benchmark_sets import crf_case, loading_times, validation_case
from afa.apis.benchmark_table import benchmark_table, row_text
from afa.utils.environment import collect_versions
from afa.utils.files import read_json, write_bytes, write_json
from afa.visualization.scaling_plot import scaling_plot


def run_benchmark(options: BenchmarkOptions) -> dict[str, Any]:
    """Measure parts and write what was found.

    Args:
        options: what to measure, and how.

    Returns:
        What the JSON file holds: machine, versions, command, limits of the machine, and ``parts``:
        the result of each, its type of numbers behind a slash if it is not float32.

    Raises:
        ValueError: if a part needs photos that are not there, or the device is not.
    """
    options.check()
    result = _begin(options)
    dtype = getattr(torch, options.dtype)
    limits = machine_limits(options.device, dtype)
    result["limits"][options.dtype] = limits
    for part in options.parts:
        print(f"{part} ...", flush=True)
        with torch.random.fork_rng(devices=[]):
            found = _measure(part, options, dtype, limits)
        key = part if options.dtype == "float32" else f"{part}/{options.dtype}"
        result["parts"][key] = {**found, "date": str(datetime.date.today())}
        print(row_text(result["parts"][key]), flush=True)
        _write(options, result)
    if options.json is not None:
        text = benchmark_table(result)
        write_bytes(Path(options.json).with_suffix(".md"), text.encode())
    return result


def _begin(options: BenchmarkOptions) -> dict[str, Any]:
    """Read what an earlier run on this machine has left, or begin anew."""
    here: dict[str, Any] = dict(
        machine=_machine(options.device),
        threads=torch.get_num_threads(),
        versions=collect_versions(),
        command=options.command,
    )
    before: dict[str, Any] = {}
    if options.json is not None and Path(options.json).is_file():
        before = read_json(options.json)
        if before.get("machine") != here["machine"] or before.get("threads") != here["threads"]:
            raise ValueError(
                f"'{options.json}' was measured on another machine or with another number of "
                "threads: figures of both do not belong into one table; give another file."
            )
    return {**here, "limits": before.get("limits", {}), "parts": before.get("parts", {})}


def _machine(device: str) -> str:
    """Name the processor, and the GPU if there is one in use."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    name = f"{name}, {os.cpu_count()} cores"
    if torch.device(device).type == "cuda":
        name += f", {torch.cuda.get_device_name(device)}"
    return name


def _measure(
    part: str, options: BenchmarkOptions, dtype: torch.dtype, limits: dict[str, float]
) -> dict[str, Any]:
    """Measure one part."""

    def setup(**changes: Any) -> Setup:
        return build_setup(
            options.config,
            device=options.device,
            dtype=dtype,
            compiled=options.compile,
            **{**dict(crop=options.crop, batch=options.batch), **changes},
        )

    root = options.data_root
    if part == "data":
        return loading_times(root, num_photos=max(20, options.photos))
    if part == "throughput":
        return measure_throughput(options)
    if part == "scaling":
        return measure_scaling(options, limits)
    cases: dict[str, Callable[[], Case]] = {
        **{name: lambda make=make: make(setup()) for name, make in CASES.items()},  # type: ignore[misc]
        "crf": lambda: crf_case(root, options.photos, options.processes),
        "test": lambda: validation_case(setup(batch=1), root, options.photos),
    }
    return measure_case(cases[part](), options.device, limits)


def _write(options: BenchmarkOptions, result: dict[str, Any]) -> None:
    if options.json is None:
        return
    path = Path(options.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)
    rows = result["parts"].get("scaling", {}).get("rows")
    if rows:
        write_bytes(path.with_suffix(".png"), scaling_plot(rows))


def default_parts(device: str, data_root: str) -> Sequence[str]:
    """Parts that are measured where none are named: those whose photos are there."""
    parts = [part for part in PARTS if part not in ("scaling", "throughput")]
    if not Path(data_root).is_dir():
        parts = [part for part in parts if part not in NEED_PHOTOS]
    return [*parts, "throughput"] if device.startswith("cuda") else parts
