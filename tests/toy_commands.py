"""Commands in pages of the docs: could they run?"""

import contextlib
import re
import runpy
import shlex
import string
import sys
from argparse import ArgumentParser
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import afa.datasets
import afa.engine
import afa.evaluation
import afa.models  # noqa: F401  registers what the configs name
from afa.engine.config import load_config
from afa.engine.config.check import check_config
from afa.utils.cli import parse_options

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = {"tools/dist_train.sh": ("train.py", 1), "tools/dist_test.sh": ("test.py", 2)}


def variables(page):
    """Names that a page gives values, as a shell does."""
    return dict(re.findall(r"^([A-Z]+)=(\S+)$", page, flags=re.MULTILINE))


def commands(text, values):
    """Commands in a text, as words, with the values of the variables of the page."""
    found = re.findall(r"`((?:python )?tools/[^`]+)`", text)
    return [
        tuple(shlex.split(string.Template(one).substitute(values).removeprefix("python ")))
        for one in found
    ]


def parse(words):
    """Name of the tool and its parsed arguments."""
    name, arguments = words[0], list(words[1:])
    if name in SCRIPTS:  # a number of GPUs comes after so many arguments
        name, place = SCRIPTS[name]
        assert arguments.pop(place).isdigit()
        arguments += ["--launcher", "pytorch"]
    name = name.removeprefix("tools/")
    before, sys.argv = sys.argv, [name, *arguments]
    try:
        return name, _parser(name)()
    finally:
        sys.argv = before


@cache
def _parser(name):
    return runpy.run_path(str(ROOT / "tools" / name), run_name="tool")["parse_args"]


@cache
def options(name):
    """Options that a tool has."""
    found = []

    def stop(parser, *args, **kwargs):
        found.append(parser)
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
        patch.setattr(ArgumentParser, "parse_known_args", stop)
        _parser(name)()
    return {option for action in found[0]._actions for option in action.option_strings}


@cache
def build(config, options):
    """Check a config with options as a run does, and build its model without memory."""
    cfg = load_config(str(ROOT / config), options=parse_options(options))
    check_config(cfg, stages=())  # no stage runs: data sets and weights need not be there
    cfg.model.backbone.init_cfg = None
    init_default_scope("mmseg")
    with torch.device("meta"):
        return cfg, MODELS.build(cfg.model)
