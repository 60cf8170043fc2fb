"""Files that only a host of the repository reads: they parse, and say what the package says."""

import configparser
import re

import pytest
import yaml

import afa
from afa.utils import environment

FORMS = ("bug", "question")
KINDS = {"checkboxes", "dropdown", "input", "markdown", "textarea"}


@pytest.fixture
def setup_cfg(repo):
    """Give setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read(repo / "setup.cfg")
    return setup


@pytest.fixture
def citation(repo):
    """Give CITATION.cff."""
    return yaml.safe_load((repo / "CITATION.cff").read_text(encoding="utf-8"))


def test_one_version_everywhere(setup_cfg, citation):
    assert setup_cfg["metadata"]["version"] == afa.__version__ == citation["version"]
    assert citation["license"] == setup_cfg["metadata"]["license"]


def test_the_papers_are_those_of_the_readme(repo, citation):
    readme = (repo / "README.md").read_text(encoding="utf-8")
    for key in ("cff-version", "message", "title", "authors"):  # what the format asks for
        assert citation[key]
    papers = citation["references"]
    assert [paper["year"] for paper in papers] == [2022, 2018, 2020]
    for paper in papers:
        names = [f"{who['family-names']}, {who['given-names']}" for who in paper["authors"]]
        assert f"title={{{paper['title']}}}" in readme
        assert f"author={{{' and '.join(names)}}}" in readme


@pytest.mark.parametrize("name", FORMS)
def test_issue_forms(repo, name):
    path = repo / ".github/ISSUE_TEMPLATE" / f"{name}.yml"
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"] and form["description"] and form["labels"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in form["body"]} <= KINDS
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)
    for page in re.findall(r"\.\./blob/main/(\S+?)\)", path.read_text(encoding="utf-8")):
        assert (repo / page).is_file()


def test_the_versions_that_a_form_asks_for_are_printed(repo, capsys):
    form = (repo / ".github/ISSUE_TEMPLATE/bug.yml").read_text(encoding="utf-8")
    (command,) = re.findall(r'`python -c "(.*?)"`', form)
    exec(command, {})
    said = capsys.readouterr().out
    assert f"'afa': '{afa.__version__}'" in said and environment.device_name() in said


def test_hosted_docs_are_built_as_make_does(repo, setup_cfg):
    hosted = yaml.safe_load((repo / ".readthedocs.yaml").read_text(encoding="utf-8"))
    assert (repo / hosted["sphinx"]["configuration"]).is_file()
    assert hosted["sphinx"]["fail_on_warning"] is True
    assert "docs" in setup_cfg["options.extras_require"]
    (install,) = hosted["build"]["jobs"]["install"]
    assert "-c constraints.txt" in install and "[docs]" in install
