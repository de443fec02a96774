"""Wrap text to the terminal without breaking a word or a number."""

from __future__ import annotations

import shutil
import textwrap

# The width if there is no terminal, and the minimum width of a text.
_COLUMNS = 120
LEAST = 24


def terminal_columns() -> int:
    """Return the width of the terminal, in characters."""
    return max(shutil.get_terminal_size((_COLUMNS, 0)).columns, LEAST)


def paragraph(text: str, columns: int, indent: str = "", further: str | None = None) -> list[str]:
    """Return a text as lines that fit; the second and later ones are indented by `further`, if given."""
    return textwrap.wrap(
        text,
        max(columns, len(indent) + LEAST),
        initial_indent=indent,
        subsequent_indent=indent if further is None else further,
        break_on_hyphens=False,
        break_long_words=False,
    )


def row(word: str, text: str, form: tuple[int, int], columns: int) -> list[str]:
    """Return a word and its description: beside it where the terminal is wide enough, else below.

    `form` is the width of the word's column, and the minimum width of a text beside it.
    """
    width, least_room = form
    is_beside = columns - width - 2 >= least_room
    lines = paragraph(text, columns, " " * (width + 2 if is_beside else 6))
    if is_beside and lines and len(word) < width:
        return [f"  {word:<{width}}" + lines[0].lstrip(), *lines[1:]]
    return [f"  {word}", *lines]
