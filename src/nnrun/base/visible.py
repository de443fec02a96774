"""Text for people: characters of a file or a library's message that a terminal would obey are shown, not sent."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from itertools import islice

# Control characters, marks that change the direction of text, line separators, lone surrogates.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# A command with its words, which are kept together.
_COMMAND = re.compile(r"\bnnrun(?: (?:-\S+|'[^']*'|[\w.@/~+-]+=\S+))+")
_GLUE = "\0"
# How a cell that a spreadsheet takes for a formula begins, also in full-width characters; and plain numbers, one or
# several with spaces between them, which may begin so.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_NUMBERS = re.compile(f"{_NUMBER}( {_NUMBER})*")
# Maximum length of each name where a message lists a few.
_LONGEST_OF_FEW = 80


def visible(text: str) -> str:
    """Return a text as one line with what a terminal would obey written out: `\\x1b`, `\\n`, `\\u202e`."""
    return _UNSEEN.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def visible_lines(text: str) -> str:
    """Return a text whose line breaks are our own, each line as `visible` shows it."""
    return "\n".join(map(visible, text.split("\n")))


def wrapped(text: str, width: int) -> str:
    """Break a text into lines of at most `width` characters, between words.

    A command stays on one line if it fits; else its lines end with a backslash, as a shell accepts them. A word that is
    longer than a line is left to the terminal, so that it can be copied.
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
    """Return a long command as lines, each but the last with a backslash at its end."""
    rows = [words[0]]
    for word in words[1:]:
        if len(rows[-1]) + 1 + len(word) + len(" \\") <= width:
            rows[-1] += f" {word}"
        else:
            rows.append(f"  {word}")
    return [*(f"{row} \\" for row in rows[:-1]), rows[-1]]


def as_cell(value: object) -> object:
    """Return a value for a CSV file; a text that a spreadsheet would calculate gets a leading `'` and stays text."""
    if not isinstance(value, str):
        return value
    is_formula = value.lstrip().startswith(_FORMULA) or value.startswith(("\t", "\r", "\n"))
    return f"'{value}" if is_formula and not _NUMBERS.fullmatch(value) else value


def distinct(titles: Sequence[str]) -> list[str]:
    """Return the titles of columns without duplicates: a repeated one gets `_2`, or the next free number."""
    found: dict[str, None] = {}
    for title in titles:
        numbered = (f"{title}_{number}" for number in itertools.count(2))
        found[next(name for name in itertools.chain([title], numbered) if name not in found)] = None
    return list(found)


def few(values: Collection[object], most: int = 5, longest: int | None = _LONGEST_OF_FEW) -> str:
    """Return the first values, each cut to `longest` characters, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(values) - most:,} more" if len(values) > most else ""
    return ", ".join(str(value)[:longest] for value in islice(values, most)) + more
