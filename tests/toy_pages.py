"""Pages of the docs, taken apart."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob(".github/**/*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def read(page):
    """Text of a page."""
    return page.read_text(encoding="utf-8")


def name(page):
    """Path of a page in the repository, as the id of a test."""
    return page.relative_to(ROOT).as_posix()


def blocks(text, *languages):
    """Fenced blocks in these languages, in their order."""
    return [code for language, code in FENCE.findall(text) if language in languages]


def prose(text):
    """A page without its fenced blocks, which the directives of the site are too."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def headings(text):
    """Level and words of each heading."""
    return [(len(marks), words) for marks, words in re.findall(r"^(#+) (.*)$", prose(text), re.M)]


def anchors(text):
    """What a link to a heading says behind #, as on GitHub: a repeated one gets a number."""
    seen = Counter()
    found = set()
    for _, words in headings(text):
        plain = re.sub(r"[^\w -]", "", words.lower()).replace(" ", "-")
        found.add(f"{plain}-{seen[plain]}" if seen[plain] else plain)
        seen[plain] += 1
    return found


def links(text):
    """Target and anchor of each link to a file or a heading of ours, pictures included."""
    return re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)#?([^)\s]*)\)", prose(text))
