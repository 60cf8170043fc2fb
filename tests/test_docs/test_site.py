"""The site builds without a warning, and nothing of it comes from elsewhere."""

import json
import os
import re
import subprocess
import sys

import pytest
from toy_pages import DOCS, ROOT

pytestmark = pytest.mark.slow
ELSEWHERE = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc(?:set)?="(?:https?:)?//
    |<link[^>]*\shref="(?:https?:)?//
    |(?:url\(|@import)\s*["']?(?:https?:)?//""",
    re.X,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(folder)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there_and_in_the_navigation(site):
    pages = [page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")]
    start = (site / "index.html").read_text(encoding="utf-8")
    for page in pages:
        assert (site / page).is_file()
        assert page.name == "index.html" or f'href="{page.as_posix()}"' in start


def test_nothing_comes_from_elsewhere(site):
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css", ".svg")]
    assert len(files) > 40
    for path in files:
        assert not ELSEWHERE.search(path.read_text(encoding="utf-8")), path
    assert ELSEWHERE.search('<script async src="https://a.b/c.js">')
    assert ELSEWHERE.search('<link rel="stylesheet" href="//a.b/c.css">')
    assert ELSEWHERE.search("@import 'https://a.b/c.css'")
    assert not ELSEWHERE.search('<a class="x" href="https://a.b">')


def test_docstrings_are_in_the_reference(site):
    for page, name in [
        ("apis", "afa.apis.inference_model"),
        ("datasets", "afa.datasets.OwnPhotosDataset"),
        ("models", "afa.models.AFA"),
        ("functional", "afa.models.functional.affinity.random_walk"),
        ("engine", "afa.engine.hooks.PhaseHook"),
        ("evaluation", "afa.evaluation.WSSSIoUMetric"),
        ("labels", "afa.labels.stages.make_pseudo_labels"),
        ("pipelines", "afa.pipelines.load_pipeline"),
    ]:
        text = (site / "api" / f"{page}.html").read_text(encoding="utf-8")
        assert f'id="{name}"' in text
    assert "Parameters" in text


def test_chinese_pages_say_their_language_and_are_found(site):
    language = '<html class="no-js" lang="{}"'
    assert language.format("zh-CN") in (site / "zh_cn/faq.html").read_text(encoding="utf-8")
    assert language.format("en") in (site / "faq.html").read_text(encoding="utf-8")
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    terms = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)", index, re.S)[1])["terms"]
    assert {"伪标", "标签", "affin", "mirror"} <= set(terms)  # pairs; stems of English words
    assert "伪标签" not in terms
    splitter = (site / "_static/language_data.js").read_text(encoding="utf-8")
    assert "var splitQuery" in splitter and "[\u4e00-\u9fff]" in splitter
