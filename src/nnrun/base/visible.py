"""Text that people see: what a file's text, or a library's message, could tell a terminal to do is shown, not sent."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from itertools import islice

# Control characters, marks that turn the direction of what follows, separators of lines, halves of characters.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# A command with its words, which are written together.
_COMMAND = re.compile(r"\bnnrun(?: (?:-\S+|'[^']*'|[\w.@/~+-]+=\S+))+")
_GLUE = "\0"
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


def wrapped(text: str, width: int) -> str:
    """Break a text into lines of at most `width` characters, between words.

    A command stays in one line if it fits into one; else its lines end with a backslash, as a shell takes them. A word
    that is longer than a line is left to the terminal, so that it can be copied.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        rows = [""]
        for piece in _COMMAND.sub(lambda found: found.group().replace(" ", _GLUE), line).split(" "):
            row = f"{rows[-1]} {piece}" if rows[-1] else piece
            rows = [*rows[:-1], row] if len(row) <= width or not rows[-1] else [*rows, piece]
        for row in rows:
            lines += [row] if len(row) <= width or _GLUE not in row else _continued(row.split(_GLUE), width)
    return "\n".join(lines).replace(_GLUE, " ")


def _continued(words: Sequence[str], width: int) -> list[str]:
    """Return the lines of a command that is longer than one, each but the last with a backslash at its end."""
    rows = [words[0]]
    for word in words[1:]:
        if len(rows[-1]) + 1 + len(word) + len(" \\") <= width:
            rows[-1] += f" {word}"
        else:
            rows.append(f"  {word}")
    return [*(f"{row} \\" for row in rows[:-1]), rows[-1]]


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
