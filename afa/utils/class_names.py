"""The names of classes: one spelling of each, wherever it was written, and text that is no name.

Files, configs, checkpoints and commands all bring names. Two that a reader cannot tell apart must
not make two classes, so each passes :func:`clean_name` where it comes in.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

# Formats (zero-width spaces, marks of direction), controls and halves of pairs are not seen; nor
# are these, which Unicode calls letters, marks or signs.
_UNSEEN_KINDS = ("Cf", "Cc", "Cs")
_UNSEEN = {*"\u034f\u115f\u1160\u2800\u3164\uffa0", *map(chr, range(0xFE00, 0xFE10))}
# Small letters of Cyrillic and Greek that are drawn as Latin ones, or are when they are large.
_TWINS = str.maketrans("авекмнорстухіјѕһԁԛԝαβεζηικμνορτυχ", "abekmhopctyxijshdqwabezhikmvoptyx")
# What programs write where there is no value.
_NOTHING = {"nan", "none", "null", "nil", "na", "n/a", "#n/a", "<na>", "nat", "undefined"}
_QUOTES = "'\"`\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb"
_MAX_WORDS = 50  # of a name that is looked at; more would take long
_NO_PART = re.compile(r"[][{}\"<>=;|/\\+&]")


def clean_name(text: str) -> str:
    """Give a name in the one spelling: in NFC, single spaces, nothing that is not seen.

    Every kind of space (no-break, wide, of a line's end) is a space.
    """
    spaced = " ".join(text.split())
    seen = (
        char
        for char in spaced
        if char not in _UNSEEN and unicodedata.category(char) not in _UNSEEN_KINDS
    )
    return " ".join(unicodedata.normalize("NFC", "".join(seen)).split())


def clean_names(names: Iterable[str], source: str) -> tuple[str, ...]:
    """Give the names of several classes in the one spelling, in their order.

    Args:
        names: The names.
        source: Where they stand, for the sentence.

    Raises:
        ValueError: If two of them are one, or one is no text.
    """
    seen: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"{source} must have the names of classes, got {name!r}.")
        cleaned = clean_name(name)
        if cleaned in seen:
            same = "" if name == seen[cleaned] else ", in two spellings that look the same"
            raise ValueError(f"{source} has the class '{cleaned}' twice{same}: keep one.")
        seen[cleaned] = name
    return tuple(seen)


def look(name: str) -> str:
    """Give what two names share that a reader may take for one: letter case, alphabet, width."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(plain.translate(_TWINS).split())


def beside(name: str, *others: str) -> str:
    """Quote a name in a sentence that has others; with codes where one of them looks the same."""
    alike = any(other != name and look(other) == look(name) for other in others)
    codes = "" if name.isascii() or not alike else f" ({ascii(name)[1:-1]})"
    return f"'{name}'{codes}"


def nearest_name(name: str, names: Sequence[str]) -> str:
    """Find the name that may have been meant: one that looks the same, or nearly; '' for none."""
    near = [other for other in names if look(other) == look(name)]
    return (near or difflib.get_close_matches(name, names, n=1) or [""])[0]


def stands_for_nothing(name: str) -> bool:
    """Tell whether a name is what stands where there is no value, such as nan, None or -."""
    kinds = {unicodedata.category(char) for char in name}
    return name.casefold() in _NOTHING or not any(kind[0] in "LN" or kind == "So" for kind in kinds)


def why_no_name(text: str) -> str | None:
    """Say why a text among the labels of a photo is no name of a class; None if it is one."""
    if stands_for_nothing(text):
        return (
            "leave the labels of a photo without any class empty, and take out a photo whose "
            "classes nobody knows"
        )
    if text[0] in _QUOTES or text[-1] in _QUOTES or _NO_PART.search(text):
        return "write ';' or '|' between the labels of a photo, and no brackets, quotes or signs"
    return None


def made_of_others(names: Sequence[str]) -> dict[str, list[str]]:
    """Find the names that are several others of the list in a row, such as 'cat dog'.

    Returns:
        Each such name, and the others that it is made of.
    """
    split = {name: tuple(re.findall(r"[^\W_]+", name.casefold())) for name in names}
    split = {name: words for name, words in split.items() if 0 < len(words) <= _MAX_WORDS}
    whole = {words: name for name, words in split.items()}
    longest = max(map(len, whole), default=0)
    found = {}
    for name, words in split.items():
        parts = _in_a_row([word for word in words if word != "and"], whole, longest)
        if len(parts) > 1 and name not in parts:
            found[name] = parts
    return found


def _in_a_row(words: list[str], whole: dict[tuple[str, ...], str], longest: int) -> list[str]:
    """Cut words into names, each time the longest that is not all of them; [] if one is left."""
    parts: list[str] = []
    start = 0
    while start < len(words):
        most = min(longest, len(words) - (start == 0) - start)
        sizes = range(most, 0, -1)
        size = next((s for s in sizes if tuple(words[start : start + s]) in whole), 0)
        if not size:
            return []
        parts.append(whole[tuple(words[start : start + size])])
        start += size
    return parts
