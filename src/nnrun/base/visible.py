"""Text that people see: what a file's text, or a library's message, could tell a terminal to do is shown, not sent."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from itertools import islice

# Control characters, marks that turn the direction of what follows, separators of lines, halves of characters.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# What a spreadsheet takes for a formula at the beginning of a cell, in both widths, and plain numbers, which it may,
# one or several with a space between them.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_NUMBERS = re.compile(f"{_NUMBER}( {_NUMBER})*")
# Of a name that is one of a few in a message.
_LONGEST_OF_FEW = 80


def visible(text: str) -> str:
    """Return a text in one line that tells a terminal nothing: what would is written as `\\x1b`, `\\n`, `\\u202e`."""
    return _UNSEEN.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def visible_lines(text: str) -> str:
    """Return a text of our own making of several lines, each as `visible` shows it."""
    return "\n".join(map(visible, text.split("\n")))


def as_cell(value: object) -> object:
    """Return a value for a CSV file; before a text that a spreadsheet would calculate comes a `'`: it is text then."""
    if not isinstance(value, str):
        return value
    is_formula = value.lstrip().startswith(_FORMULA) or value.startswith(("\t", "\r", "\n"))
    return f"'{value}" if is_formula and not _NUMBERS.fullmatch(value) else value


def distinct(titles: Sequence[str]) -> list[str]:
    """Return the titles of columns, each once: one that stands before is followed by `_2`, or the next free number."""
    found: dict[str, None] = {}
    for title in titles:
        numbered = (f"{title}_{number}" for number in itertools.count(2))
        found[next(name for name in itertools.chain([title], numbered) if name not in found)] = None
    return list(found)


def few(values: Collection[object], most: int = 5) -> str:
    """Return the first values, each as a text that is not long, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(values) - most:,} more" if len(values) > most else ""
    return ", ".join(str(value)[:_LONGEST_OF_FEW] for value in islice(values, most)) + more
