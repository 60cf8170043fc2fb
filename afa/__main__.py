# PYTHON_ARGCOMPLETE_OK
"""The command `afa`: `afa train CONFIG` is `python tools/train.py CONFIG`, from any folder."""

import argparse
import ast
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import afa
from afa.utils.cli import main_guard
from afa.utils.home import config_names, find_tools


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool that the first argument names with the arguments after it.

    Args:
        arguments: the command line after ``afa``; by default that of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    tools = find_tools()
    completing = _complete(tools)
    name = completing or _parser(tools).parse_args(words[:1] or ["--help"]).command
    words = words[1:]
    spec = importlib.util.spec_from_file_location("__afa_tool__", tools[name])
    if spec is None or spec.loader is None:
        raise ImportError(f"'{tools[name]}' is no Python file.")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    sys.argv = [f"afa {name}", *words]
    main_guard(tool.main)


def _parser(tools: dict[str, Path]) -> argparse.ArgumentParser:
    """Build the parser of the first word."""
    width = max(map(len, tools))
    lines = [f"  {name:<{width}}  {_summary(path)}" for name, path in tools.items()]
    parser = argparse.ArgumentParser(
        prog="afa",
        usage="afa COMMAND [ARGUMENTS]; afa COMMAND --help",
        description="Semantic segmentation learned from image-level labels.",
        epilog="\n".join(["commands:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"afa {afa.__version__}")
    parser.add_argument("command", choices=tools, metavar="COMMAND", help="one of those below")
    return parser


def _summary(path: Path) -> str:
    """Give the first sentence of a tool's docstring, without its command line."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.splitlines()[0].partition(": `")[0].rstrip(".")


def _complete(tools: dict[str, Path]) -> str | None:
    """Answer the shell, if it asks how a line may go on; needs the package argcomplete.

    Returns:
        The command whose own arguments are wanted, None for the command itself.
    """
    if "_ARGCOMPLETE" not in os.environ:
        return None
    import argcomplete

    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    words = line.split()[1:] if line.endswith(" ") else line.split()[1:-1]
    if not words or words[0] not in tools:
        argcomplete.autocomplete(_parser(tools))
        return None
    os.environ["_ARGCOMPLETE"] = "2"  # the first two words are the program
    parse_args = argparse.ArgumentParser.parse_args

    def answer(parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> Any:
        for action in parser._actions:
            if action.dest in ("config", "inputs"):
                action.completer = _complete_config  # type: ignore[attr-defined]
        argcomplete.autocomplete(parser)
        return parse_args(parser, *args, **kwargs)

    argparse.ArgumentParser.parse_args = answer  # type: ignore
    return words[0]


def _complete_config(prefix: str, **_: Any) -> list[str]:
    """List names of configs and files that begin with a prefix."""
    from argcomplete.completers import FilesCompleter

    return [name for name in config_names() if name.startswith(prefix)] + list(
        FilesCompleter()(prefix)
    )


if __name__ == "__main__":
    main()
