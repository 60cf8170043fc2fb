"""Measure the parts of AFA beside the way they are usually computed.

`benchmark.py [CONFIG] [--parts ...] [--device cuda] [--dtype bfloat16] [--json FILE]`. What the
figures mean, and those we have, stand in docs/benchmarks/speed.md. Each part's result is written as
soon as it is there: a run that is stopped, or of some parts only, goes on in the same file.
"""

import argparse
import datetime
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from afa.utils.cli import main_guard
from speed_options import DATA_ROOT, DTYPES, NEED_PHOTOS, PARTS, BenchmarkOptions


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Measure the parts of AFA beside the way they are usually computed."
    )
    parser.add_argument("config", nargs="?", help="config with an AFA model (default: MiT-B1, VOC)")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, metavar="PART",
        help=f"what to measure (default: all but scaling, and throughput on a GPU only): "
        f"{', '.join(PARTS)}",
    )  # fmt: skip
    parser.add_argument("--scaling", action="store_true", help="the part 'scaling' beside others")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1 ...")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32",
        help="bfloat16: ours in mixed precision, against references in float32",
    )  # fmt: skip
    parser.add_argument("--crop", type=int, default=320, help="side of the images (default: 320)")
    parser.add_argument("--batch", type=int, default=2, help="images of a step (default: 2)")
    parser.add_argument(
        "--photos", type=int, default=6, help="photos of the parts crf and test (default: 6)"
    )
    parser.add_argument("--processes", type=int, default=2, help="of the CRF (default: 2)")
    parser.add_argument(
        "--data-root", default=DATA_ROOT, help=f"photos in VOC's layout (default: {DATA_ROOT})"
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile backbone and heads")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), metavar="N",
        help="begin no row of 'throughput' later than N seconds after its first",
    )  # fmt: skip
    parser.add_argument(
        "--json", metavar="FILE",
        help="write the results here, and the table beside; parts that are there stay",
    )  # fmt: skip
    return parser.parse_args()


def default_parts(device: str, data_root: str) -> Sequence[str]:
    """Parts that are measured where none are named: those whose photos are there."""
    parts = [part for part in PARTS if part not in ("scaling", "throughput")]
    if not Path(data_root).is_dir():
        parts = [part for part in parts if part not in NEED_PHOTOS]
    return [*parts, "throughput"] if device.startswith("cuda") else parts


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
    import torch

    from afa.files.whole_file import write_bytes
    from speed_measure import machine_limits
    from speed_table import benchmark_table, row_text

    options.check()
    result = _begin(options)
    dtype = getattr(torch, options.dtype)
    limits = machine_limits(options.device, dtype)
    result["limits"][options.dtype] = limits
    for part in options.parts:
        print(f"{part} ...", flush=True)
        with torch.random.fork_rng(devices=[]):
            key = part if options.dtype == "float32" else f"{part}/{options.dtype}"

            def keep(found: dict[str, Any], key: str = key) -> None:
                result["parts"][key] = {**found, "date": str(datetime.date.today())}
                _write(options, result)

            keep(_measure(part, options, dtype, limits, keep))
        print(row_text(result["parts"][key]), flush=True)
    if options.json is not None:
        text = benchmark_table(result)
        write_bytes(Path(options.json).with_suffix(".md"), text.encode())
    return result


def _begin(options: BenchmarkOptions) -> dict[str, Any]:
    """Read what an earlier run on this machine has left, or begin anew."""
    import torch

    from afa.files.whole_file import read_json
    from afa.utils.environment import collect_versions

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
    import torch

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
    part: str,
    options: BenchmarkOptions,
    dtype: Any,
    limits: dict[str, float],
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Measure one part; what takes long hands on what it has so far."""
    from speed_measure import measure_case
    from speed_parts import CASES, build_setup
    from speed_photos import crf_case, loading_times, validation_case
    from speed_scaling import measure_scaling, measure_throughput

    def setup(**changes: Any) -> Any:
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
        return measure_throughput(options, keep)
    if part == "scaling":
        return measure_scaling(options, limits)
    cases: dict[str, Callable[[], Any]] = {
        **{name: lambda make=make: make(setup()) for name, make in CASES.items()},
        "crf": lambda: crf_case(root, options.photos, options.processes),
        "test": lambda: validation_case(setup(batch=1), root, options.photos),
    }
    return measure_case(cases[part](), options.device, limits)


def _write(options: BenchmarkOptions, result: dict[str, Any]) -> None:
    if options.json is None:
        return
    from afa.files.whole_file import write_bytes, write_json
    from speed_table import scaling_plot

    path = Path(options.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)
    rows = result["parts"].get("scaling", {}).get("rows")
    if rows:
        write_bytes(path.with_suffix(".png"), scaling_plot(rows))


def main() -> None:
    """Measure, print the table."""
    args = vars(parse_args())
    from speed_table import benchmark_table

    scaling = args.pop("scaling")
    args["parts"] = args["parts"] or list(default_parts(args["device"], args["data_root"]))
    args["parts"] += ["scaling"] if scaling and "scaling" not in args["parts"] else []
    options = BenchmarkOptions(**args, command=shlex.join(["python", *sys.argv]))
    print(benchmark_table(run_benchmark(options)))


if __name__ == "__main__":
    main_guard(main)
