"""Compare runs: `compare.py RUN RUN ... --out DIR`.

Writes a table, plots and a page of pictures (`index.html`, opens from disk).
"""

import argparse

from afa.utils.cli import main_guard


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Compare end-to-end and multi-stage runs: table, plots, page of pictures."
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="work folders of run_pipeline.py or train.py"
    )
    parser.add_argument("--out", default="work_dirs/comparison", help="folder for the page")
    parser.add_argument("--num-images", type=int, default=8, help="pictures in a section (0: none)")
    return parser.parse_args()


def main() -> None:
    """Read the runs, draw, write."""
    args = parse_args()
    from afa.pipelines.comparison import (
        comparison_table,
        draw_pictures,
        name_apart,
        write_comparison,
    )
    from afa.pipelines.run_summary import read_run

    runs = name_apart([read_run(folder) for folder in args.runs])
    pictures = draw_pictures(runs, args.out, args.num_images) if args.num_images > 0 else {}
    page = write_comparison(runs, args.out, pictures)
    print(comparison_table(runs), end="")
    print(f"The page is {page}; table.md and comparison.json are beside it.")


if __name__ == "__main__":
    main_guard(main)
