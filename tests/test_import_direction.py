"""Packages of afa import to the left only: what lies further left knows nothing of the rest."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

AFA = Path(__file__).resolve().parent.parent / "afa"
# Packages of one row do not import one another.
ROWS = [
    ("files",),
    ("utils",),
    ("models", "datasets", "visualization"),
    ("evaluation",),
    ("engine",),
    ("apis",),
    ("labels",),
    ("pipelines",),
]
PLACE = {name: place for place, row in enumerate(ROWS) for name in row}


def imported_packages(path: Path) -> set[str]:
    """Name the packages of afa that a file imports, inside of functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("afa.")}


@pytest.mark.parametrize("package", PLACE)
def test_imports_go_to_the_left(package):
    files = list((AFA / package).rglob("*.py"))
    assert files
    for path in files:
        for found in imported_packages(path) - {package}:
            assert PLACE[found] < PLACE[package], f"{path.relative_to(AFA)} imports afa.{found}"


def test_every_package_has_its_place():
    assert {path.parent.name for path in AFA.glob("*/__init__.py")} == set(PLACE)


def test_files_loads_neither_torch_nor_mmseg():
    modules = [f"afa.files.{path.stem}" for path in (AFA / "files").glob("[a-z]*.py")]
    assert modules
    code = f"import sys, importlib; [importlib.import_module(name) for name in {modules}]; "
    code += "print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "mmengine", "mmcv", "mmseg", "timm", "scipy", "sklearn", "matplotlib"}
    assert not heavy & set(run.stdout.split())
