"""Links of every page lead somewhere, its code compiles, its commands name what there is."""

import re
import shlex
import string

import pytest
from toy_commands import SCRIPTS, options, parse, variables
from toy_pages import DOCS, PAGES, ROOT, anchors, blocks, links, name, prose, read

from afa.utils.home import find_tools

BY_NAME = re.compile(rf"^afa ({'|'.join(find_tools())})\b", re.MULTILINE)
COMMAND = re.compile(r"(?:[A-Z_]+=\S* )*(?:python |bash )?(tools/\S+\.(?:py|sh)\b.*)")
every_page = pytest.mark.parametrize("page", PAGES, ids=name)


def _commands(text):
    """Calls of tools, as words: those of blocks, and those in the middle of a text."""
    values = variables(text)
    lines = "\n".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    lines = [BY_NAME.sub(_as_tool, line) for line in lines]
    inside = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(text))]
    for found in (lines, inside):
        calls = [call[1] for line in found if (call := COMMAND.fullmatch(line.strip()))]
        filled = [string.Template(call).safe_substitute(values) for call in calls]
        yield [shlex.split(call, comments=True) for call in filled]


def _as_tool(call):
    """Write `afa NAME` as the tool that it runs."""
    return find_tools()[call[1]].relative_to(ROOT).as_posix()


def _tool(script):
    """Return the Python tool that a call ends in, or None: gpu.sh has options of its own."""
    if script.endswith(".py"):
        return script.removeprefix("tools/")
    by_slurm = {"tools/slurm_train.sh": "train.py", "tools/slurm_test.sh": "test.py"}
    return SCRIPTS[script][0] if script in SCRIPTS else by_slurm.get(script)


@every_page
def test_links_lead_to_files_and_headings(page):
    wrong = []
    for target, anchor in links(read(page)):
        file = (page.parent / target).resolve() if target else page
        known = anchors(read(file)) if file.suffix == ".md" and file.is_file() else set()
        if not file.exists() or (anchor and anchor not in known):
            wrong.append(f"{target}#{anchor}" if anchor else target)
    assert not wrong, f"{name(page)} links to what is not there: {', '.join(wrong)}"


@every_page
def test_python_compiles(page):
    for code in blocks(read(page), "python"):
        compile(code, name(page), "exec")


@every_page
def test_commands_name_what_there_is(page):
    in_blocks, inside = _commands(read(page))
    for words in in_blocks + inside:
        call = f"{name(page)}: {' '.join(words)}"
        assert (ROOT / words[0]).is_file(), f"{call}: there is no {words[0]}"
        configs = [word for word in words if re.match(r"configs/[^$]*\.py$", word)]
        assert all((ROOT / config).is_file() for config in configs), f"{call}: no such config"
        if tool := _tool(words[0]):
            given = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", " ".join(words)))
            unknown = given - options(tool)
            assert not unknown, f"{call}: {words[0]} has no {', '.join(unknown)}"
    for words in in_blocks:
        whole = not {"[", "]", "..."} & set("".join(words)) and "slurm" not in words[0]
        if whole and _tool(words[0]):
            parse(words)


def test_there_is_something_to_look_at():
    commands = [words for page in PAGES for found in _commands(read(page)) for words in found]
    assert len(commands) > 200 and len({words[0] for words in commands}) > 20
    assert sum(len(links(read(page))) for page in PAGES) > 200
    assert {ROOT / "README.md", DOCS / "faq.md", DOCS / "zh_cn/faq.md"} <= set(PAGES)


def test_figures_of_the_model_zoo_stand_where_its_rows_say():
    """Published ones on the page that quotes the paper, measured ones on that of the run."""
    rows = [line for line in read(DOCS / "model_zoo.md").splitlines() if ".py)" in line]
    assert len(rows) == 15
    for row in rows:
        figures = re.findall(r"\b\d?\d\.\d\b", re.sub(r"\]\([^)]*\)|`[^`]*`", "", row))
        (home,) = [target for target, _ in links(row) if target.endswith(".md")]
        assert figures and all(
            re.search(rf"(?<![\d.]){figure}(?!\.?\d)", read(DOCS / home)) for figure in figures
        ), row
