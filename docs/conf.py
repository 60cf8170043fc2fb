"""What builds the site: `make docs`; the page that opens it is docs/_build/index.html."""

import re
import sys
from itertools import pairwise
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the docstrings are those of this checkout, whatever is installed

import afa  # noqa: E402

project = "afa"
author = copyright = "The afa developers"
version = release = afa.__version__
html_title = f"afa {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
highlight_language = "none"  # of a block that names no language: listings, messages
myst_heading_anchors = 4  # links to headings, as on GitHub

default_role = "code"  # a docstring writes `name`
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
python_maximum_signature_line_length = 80

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False

CHINESE = "\u4e00-\u9fff"


class SearchBoth(SearchEnglish):
    """English words, and Chinese ones as pairs of characters: no space says where a word ends."""

    js_splitter_code = rf"""
var splitQuery = (query) =>
  (query.match(/[{CHINESE}]+|(?:(?![{CHINESE}])[\p{{Letter}}\p{{Number}}_])+/gu) || []).flatMap(
    (word) => /^[{CHINESE}]{{2,}}$/.test(word)
      ? Array.from(word.slice(1), (second, i) => word[i] + second)
      : [word]);
"""

    def split(self, input: str) -> list[str]:
        """Split a text into what the index holds; the JavaScript above does it to a query."""
        words = []
        for word in re.findall(rf"[{CHINESE}]+|[^\W{CHINESE}]+", input):
            pairs = [a + b for a, b in pairwise(word)]
            words += pairs if pairs and re.match(f"[{CHINESE}]", word) else [word]
        return words


def _name_language(
    app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object
) -> None:
    """Tell the browser which pages are Chinese: it chooses glyphs by it, and a voice."""
    if pagename.startswith("zh_cn/"):
        context["language"] = "zh-CN"


def setup(app: Sphinx) -> None:
    """Add what the options above cannot say."""
    app.add_search_language(SearchBoth)
    app.connect("html-page-context", _name_language)
