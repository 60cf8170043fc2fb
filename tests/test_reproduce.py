"""Every command in docs/reproduce.md could run: tools, options, configs, checkpoints."""

import re
from functools import cache
from pathlib import Path

import pytest
from toy_commands import build, commands, parse, variables

from afa.labels.options import PseudoLabelOptions
from afa.pipelines import load_pipeline
from afa.utils.cli import parse_options

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
VARIABLES = variables(PAGE)


def _rows():
    """Cells of every row of a table, without heads."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return [row for row in rows if "command" not in row]


def _commands(text):
    return commands(text, VARIABLES)


COMMANDS = sorted({words for row in _rows() for words in _commands(row[2])} | {*_commands(PAGE)})


@cache
def _pipeline(config, work_dir, options):
    """Load a pipeline and check config, options and arguments of every stage."""
    pipeline = load_pipeline(ROOT / config, work_dir, parse_options(options))
    places = {stage.name: Path(f"/{stage.name}") for stage in pipeline.stages}
    for stage in pipeline.stages:
        build(stage.config, tuple(f"{key}={value}" for key, value in stage.options.items()))
        command = [stage.tool, stage.config, "x.pth" if stage.checkpoint else ""]
        command += [text.format(**places) for text in stage.args]
        parse([word for word in command if word])
    return pipeline


def _pipeline_of(args):
    return _pipeline(args.config, args.work_dir, tuple(args.cfg_options or ()))


def _made(words):
    """Name the last checkpoints that a command leaves."""
    name, args = parse(words)
    if name == "train.py":
        cfg = build(args.config, tuple(args.cfg_options or ()))[0]
        work = args.work_dir or f"work_dirs/{Path(args.config).stem}"
        return [f"{work}/iter_{cfg.train_cfg.max_iters}.pth"]
    if name != "run_pipeline.py":
        return []
    pipeline = _pipeline_of(args)
    return [
        f"{pipeline.folders[stage.name].relative_to(Path.cwd())}/"
        f"iter_{build(stage.config, ())[0].train_cfg.max_iters}.pth"
        for stage in pipeline.stages
        if stage.tool == "train.py"
    ]


@pytest.fixture(scope="module")
def made():
    """Checkpoints that the commands of the page leave."""
    return {path for words in COMMANDS for path in _made(words)}


def test_every_row_has_a_published_value_a_command_and_what_was_measured():
    rows = _rows()
    assert len(rows) > 40 and len(COMMANDS) > 40
    for row in rows:
        assert len(row) == 4, row
        assert re.fullmatch(r"not found|\d\d\.\d( / \d\d\.\d)?", row[1]), row
        assert _commands(row[2]), row
        links = re.findall(r"\]\(([^)#]+)", row[3])
        assert links or row[3].startswith("not measured"), row
        assert all((ROOT / "docs" / link).is_file() for link in links), row


def test_published_values_are_those_of_the_methods_page():
    methods = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for row in _rows():
        for value in re.findall(r"\d\d\.\d", row[1]):
            assert value in methods, row


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command(words, made):
    name, args = parse(words)
    if name == "benchmarks/ablation.py":
        return
    if name == "run_pipeline.py":
        names = [stage.name for stage in _pipeline_of(args).stages]
        assert {args.first, args.last} <= {*names, None} and args.num_processes > 0
        return
    build(args.config, tuple(args.cfg_options or ()))
    if name == "pseudo_labels.py":
        fields = PseudoLabelOptions.__dataclass_fields__
        PseudoLabelOptions(**{key: getattr(args, key) for key in fields if hasattr(args, key)})
    if hasattr(args, "checkpoint"):
        assert args.checkpoint in made


def test_a_wrong_command_would_be_seen(made):
    config = VARIABLES["AFA"]
    with pytest.raises(ValueError, match="did you mean 'num_iters'"):
        build(config, ("model.refiner.num_iter=5",))
    with pytest.raises(SystemExit):
        parse(("tools/pseudo_labels.py", config, "x.pth", "--splitt", "train"))
    assert f"{VARIABLES['S']}/03_round_1/iter_39680.pth" in made
    assert f"{VARIABLES['S']}/03_round_1/iter_4.pth" not in made
