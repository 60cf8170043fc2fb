"""Run the tests with the supported versions: `python tools/dev/test_versions.py`.

One environment for each Python and each of the oldest and newest torch; needs nothing but Python.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# setup.cfg names the oldest torch; torchvision must be the one made for it.
OLDEST = ("torch==2.6.0", "torchvision==0.21.0")
NEWEST = ("-c", str(ROOT / "constraints.txt"))


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Make an environment for each Python and each torch, and run the tests in it. "
        "An environment takes about 6 GB and a download of 3 GB.",
    )
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="3.N", help="versions")
    parser.add_argument("--torch", nargs="+", choices=("oldest", "newest"),
                        default=("oldest", "newest"))  # fmt: skip
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs/versions")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="what pytest runs")
    return parser.parse_args()


def find_python(version: str) -> str | None:
    """Find a Python, on the PATH or among those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *pyenv.glob(f"{version}.*/bin/python")]
    for path in filter(None, candidates):
        command = [str(path), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.stdout.strip() == version:
            return str(path)
    return None


def install(python: str, folder: Path, which: str) -> str:
    """Make the environment; return '' or what kept it from being made.

    The dense CRF has no wheel for every Python: where it cannot be built its tests are skipped.
    """
    if (folder / ".ready").exists():
        return ""
    subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
    wanted = OLDEST if which == "oldest" else NEWEST
    for extras in ("crf,test", "test"):
        command = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *wanted]
        done = subprocess.run([*command, f"{ROOT}[{extras}]"], capture_output=True, text=True)
        if done.returncode == 0:
            (folder / ".ready").touch()
            return ""
    return "does not install: " + done.stderr.strip().splitlines()[-1]


def run_tests(folder: Path, tests: list[str]) -> str:
    """Run the tests of this checkout and return pytest's last line."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [str(folder / "bin/python"), "-m", "pytest", *tests]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    (folder / "pytest.log").write_text(done.stdout + done.stderr)
    lines = done.stdout.strip().splitlines() or [f"pytest ended with {done.returncode}"]
    return lines[-1]


def main() -> int:
    """Go through all pairs and print a table."""
    args, rows = parse_args(), []
    for version in args.python:
        python = find_python(version)
        for which in args.torch:
            folder = args.work_dir / f"py{version}-{which}"
            if python is None:
                said = "not tested: no such Python on this machine"
            else:
                said = install(python, folder, which) or run_tests(folder, args.tests)
            rows.append(dict(python=version, torch=which, result=said))
            print(f"| {version} | {which} | {said} |", flush=True)
    args.work_dir.mkdir(parents=True, exist_ok=True)
    (args.work_dir / "versions.json").write_text(json.dumps(rows, indent=2) + "\n")
    return int(any("failed" in row["result"] or "error" in row["result"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
