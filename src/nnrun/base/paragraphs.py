"""Text in lines that fit a terminal: no word and no number is broken."""

from __future__ import annotations

import shutil
import textwrap

# Where no terminal says how wide it is; and the least room that a text is given.
_COLUMNS = 120
LEAST = 24


def terminal_columns() -> int:
    """Return how wide the terminal is."""
    return max(shutil.get_terminal_size((_COLUMNS, 0)).columns, LEAST)


def paragraph(text: str, columns: int, indent: str = "", further: str | None = None) -> list[str]:
    """Return a text as lines that fit, the second and later ones with another indent."""
    return textwrap.wrap(
        text,
        max(columns, len(indent) + LEAST),
        initial_indent=indent,
        subsequent_indent=indent if further is None else further,
        break_on_hyphens=False,
        break_long_words=False,
    )


def row(word: str, text: str, form: tuple[int, int], columns: int) -> list[str]:
    """Return a word and what is said of it: beside it where the terminal is wide enough, else below.

    `form` is the width of the word, and the least room that a text beside it must have.
    """
    width, least_room = form
    is_beside = columns - width - 2 >= least_room
    lines = paragraph(text, columns, " " * (width + 2 if is_beside else 6))
    if is_beside and lines and len(word) < width:
        return [f"  {word:<{width}}" + lines[0].lstrip(), *lines[1:]]
    return [f"  {word}", *lines]
