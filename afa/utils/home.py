"""Where the configs and tools of afa are: beside the package in a checkout, inside it in a wheel.

A wheel has them in ``afa/.mim``, as those of mmsegmentation do. The command ``afa NAME`` runs a
tool by name, and a config may be given by its name wherever a path is wanted.
"""

import difflib
import os
import shlex
import sys
from pathlib import Path

import afa

_PACKAGE = Path(afa.__file__).resolve().parent
IN_WHEEL = (_PACKAGE / ".mim").is_dir()
ROOT = _PACKAGE / ".mim" if IN_WHEEL else _PACKAGE.parent
_UNLISTED = ("benchmarks", "dev")  # for those who change afa; a wheel does not have them
_FIRST = ("train", "test", "predict", "pseudo-labels", "pipeline", "demo")  # in the list of all
# Commands with a shorter name than their tool.
_SHORT = {
    "check_dataset": "check",
    "print_config": "config",
    "run_pipeline": "pipeline",
    "afa_official": "convert-afa",
    "psa_official": "convert-psa",
}


def find_tools() -> dict[str, Path]:
    """Find the tools, those of every day first: name of the command to file."""
    tools = ROOT / "tools"
    files = [*sorted(tools.glob("*.py")), *sorted(tools.glob("*/*.py"))]
    found = {
        _SHORT.get(file.stem, file.stem.replace("_", "-")): file
        for file in files
        if file.parent.name not in _UNLISTED
    }
    return {**{name: found[name] for name in _FIRST}, **found}


def config_names() -> list[str]:
    """List the configs that afa brings, e.g. ``'afa/afa_mit-b1_2xb2-20k_voc12aug-512x512'``."""
    configs = ROOT / "configs"
    files = [file.relative_to(configs) for file in configs.glob("*/*.py")]
    return sorted(file.with_suffix("").as_posix() for file in files if file.parts[0][0] != "_")


def config_path(name: str | Path) -> Path:
    """Find a config by path or, where there is no such file, by its name among those of afa.

    Args:
        name: path of a file; or the name of one of afa's configs, its folder and ``.py`` may be
            left out; or its path in a checkout (``configs/afa/...``).

    Raises:
        FileNotFoundError: if there is neither; the text has similar names.
    """
    if Path(name).is_file():
        return Path(name)
    if path := _own_config(str(name)):
        return path
    stems = [known.rpartition("/")[2] for known in config_names()]
    similar = difflib.get_close_matches(Path(name).stem, stems, n=2, cutoff=0.5)
    hint = f" Similar: {', '.join(similar)}." if similar else ""
    raise FileNotFoundError(
        f"There is no config file '{name}', nor a config of afa by that name.{hint} "
        f"`{run_text('config')}` lists them."
    )


def is_config(text: str) -> bool:
    """Tell whether an argument of a tool is a config, and not a checkpoint."""
    return text.endswith(".py") or (not Path(text).exists() and _own_config(text) is not None)


def _own_config(name: str) -> Path | None:
    wanted = name.removeprefix("configs/").removesuffix(".py")
    for known in config_names():
        if wanted in (known, known.rpartition("/")[2]):
            return ROOT / "configs" / f"{known}.py"
    return None


def python_text() -> str:
    """Give this Python as one types it here; that of a `make` target is not on the PATH."""
    relative = os.path.relpath(sys.executable)
    return sys.executable if relative.startswith(os.pardir) else relative


def run_text(command: str, *arguments: str) -> str:
    """Give the command line of a tool as one types it here, e.g. ``python tools/test.py``.

    Args:
        command: name of the command, see :func:`find_tools`.
        arguments: its arguments.
    """
    if IN_WHEEL:
        return shlex.join(["afa", command, *arguments])
    tool = find_tools()[command].relative_to(ROOT).as_posix()
    return shlex.join([python_text(), tool, *arguments])
