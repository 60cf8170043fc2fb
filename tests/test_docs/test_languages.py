"""A Chinese page says what the English one says: a change in one is carried over."""

import re
from collections import Counter

import pytest
from toy_pages import DOCS, ROOT, blocks, headings, links, prose, read

CHINESE = DOCS / "zh_cn"
NAMES = sorted(page.name for page in CHINESE.glob("*.md"))
PAGES = [name for name in NAMES if name != "index.md"]
both = pytest.mark.parametrize("name", PAGES)


def _assert_same(name, what, english, chinese):
    """Name the first thing that only one of two pages has."""
    pairs = zip([*english, None], [*chinese, None], strict=False)
    first = next(((one, other) for one, other in pairs if one != other), None)
    assert first is None, (
        f"docs/{name} and docs/zh_cn/{name} differ in {what}: {first[0]!r} in English, "
        f"{first[1]!r} in Chinese. Carry the change over to the other page."
    )


def _texts(name):
    return read(DOCS / name), read(CHINESE / name)


def _code(text):
    """Lines of commands and programs, without comments, which each language has its own of."""
    lines = "\n".join(blocks(text, "bash", "python")).splitlines()
    bare = [re.sub(r"(^|\s)\s*#.*", "", line).rstrip() for line in lines]
    return [line for line in bare if line]


def _other_blocks(text):
    """Lines of listings up to their explanation, which comes behind two spaces or more."""
    lines = "\n".join(blocks(text, "")).splitlines()
    return [re.split(r"\s{2,}", line.strip())[0] for line in lines]


def _rows(text):
    """Level of each heading, with the rows of tables and the points of lists below it."""
    parts = re.split(r"^(?=#+ )", prose(text), flags=re.M)
    counts = [(len(re.findall(r"^\|", p, re.M)), len(re.findall(r"^- ", p, re.M))) for p in parts]
    levels = [0, *(level for level, _ in headings(text))]
    return [
        f"heading {place} of level {level} with {rows} rows and {points} points"
        for place, (level, (rows, points)) in enumerate(zip(levels, counts, strict=True))
    ]


def _counted(found):
    """Everything that a page has, with how often: the order of a sentence is the language's."""
    return sorted(f"{text} ({count}×)" for text, count in Counter(found).items())


def _inline(text):
    return _counted(" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(text)))


def _links(name, folder):
    """Pages that a page links to, the Chinese ones by the name of the English one."""
    text = read(folder / name)
    paths = [(folder / (target or name)).resolve() for target, _ in links(text)]
    english = [DOCS / path.name if path.parent == CHINESE else path for path in paths]
    ours = [path.relative_to(ROOT).as_posix() for path in english]
    return _counted(ours + re.findall(r"\]\((https?:[^)]*)\)", text))


def test_the_pages_that_a_beginner_reads_are_there():
    assert {"get_started.md", "own_data.md", "training.md", "testing.md"} <= set(PAGES)
    assert {"predict.md", "faq.md", "index.md"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_page_links_to_the_other_language_at_its_top(name):
    english, chinese = (text.splitlines()[2] for text in _texts(name))
    assert english == f"English | [简体中文](zh_cn/{name})"
    assert chinese == f"[English](../{name}) | 简体中文"


@both
def test_commands_and_programs(name):
    english, chinese = _texts(name)
    _assert_same(name, "a command", _code(english), _code(chinese))
    _assert_same(name, "a listing", _other_blocks(english), _other_blocks(chinese))
    _assert_same(name, "JSON", blocks(english, "json"), blocks(chinese, "json"))


@both
def test_headings_tables_and_lists(name):
    english, chinese = _texts(name)
    _assert_same(name, "headings, tables or lists", _rows(english), _rows(chinese))


@both
def test_names_options_and_figures(name):
    english, chinese = _texts(name)
    _assert_same(name, "`code`", _inline(english), _inline(chinese))
    figures = [re.findall(r"\b\d\d\.\d\b", prose(text)) for text in (english, chinese)]
    _assert_same(name, "figures", *map(_counted, figures))


@both
def test_links(name):
    _assert_same(name, "links", _links(name, DOCS), _links(name, CHINESE))


def test_a_change_in_english_alone_is_seen():
    english, chinese = _texts("get_started.md")
    changed = english.replace("--cam\n", "--cam --crf\n") + "\n## New\n"
    assert changed != english
    with pytest.raises(AssertionError, match=r"'.*--cam --crf' in English, '.*--cam' in Chinese"):
        _assert_same("get_started.md", "a command", _code(changed), _code(chinese))
    with pytest.raises(AssertionError, match=r"of level 2 .* in English, None in Chinese"):
        _assert_same("get_started.md", "headings", _rows(changed), _rows(chinese))
    assert _code("```bash\na --b  # c\n# d\n```\n") == ["a --b"]
