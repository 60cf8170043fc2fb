"""Measure the parts of AFA beside the way they are usually computed.

`benchmark.py [CONFIG] [--parts ...] [--device cuda] [--dtype bfloat16] [--json FILE]`. What the
figures mean, and those we have, stand in docs/benchmarks/speed.md.
"""

import argparse
import shlex
import sys

from afa.apis.benchmark_options import DATA_ROOT, DTYPES, PARTS, BenchmarkOptions
from afa.utils.cli import main_guard


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
        "--json", metavar="FILE",
        help="write the results here, and the table beside; parts that are there stay",
    )  # fmt: skip
    return parser.parse_args()


def main() -> None:
    """Measure, print the table."""
    args = vars(parse_args())
    from afa.apis.benchmark import default_parts, run_benchmark
    from afa.apis.benchmark_table import benchmark_table

    scaling = args.pop("scaling")
    args["parts"] = args["parts"] or list(default_parts(args["device"], args["data_root"]))
    args["parts"] += ["scaling"] if scaling and "scaling" not in args["parts"] else []
    options = BenchmarkOptions(**args, command=shlex.join(["python", *sys.argv]))
    print(benchmark_table(run_benchmark(options)))


if __name__ == "__main__":
    main_guard(main)
