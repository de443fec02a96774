"""Texts to predict for: from files, or given by a program."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nnrun.assembly.instantiate import build
from nnrun.assembly.prediction.input_files import FROM_STDIN
from nnrun.assembly.prediction.raw_images import Samples
from nnrun.base.errors import ArtifactError, DataError
from nnrun.base.paths import expanded, shown
from nnrun.base.visible import few
from nnrun.components.data.hub_sets import is_saved_set, saved_rows
from nnrun.components.data.text_files import (
    TEXT_SUFFIX,
    TEXT_TITLES,
    Rows,
    column_of,
    holds_rows,
    read_lines,
    read_rows,
    read_text,
)
from nnrun.core.seams.data import Preprocessing
from nnrun.core.trees import samples_of

OF_TEXTS = "nnrun.components.data.tokens.Tokens"
# The title of a column that names the rows.
_ID = "id"


@dataclass(frozen=True)
class NamedTexts:
    """Texts, the name of each, and what the names are: the title of their column in predictions.csv."""

    texts: list[str]
    names: list[str]
    title: str


class Tokenizer(Protocol):
    """What turns texts into the samples of a network, which takes `max_length` tokens."""

    max_length: int

    def of(self, texts: Sequence[str]) -> Any:
        """Return the numbers of the tokens of texts, as `samples`, and how many were cut, `num_cut`."""
        ...


def tokens_of(preprocessing: Mapping[str, Any]) -> Tokenizer | None:
    """Return the tokenizer of a network of texts, from its preprocessing as plain values; None for other networks."""
    if preprocessing.get("_target_") != OF_TEXTS:
        return None
    pieces, length = preprocessing.get("tokenizer"), preprocessing.get("max_length")
    is_text = isinstance(pieces, list) and all(isinstance(piece, str) for piece in pieces)
    if not is_text or type(length) is not int or length < 1:
        raise ArtifactError("the tokenizer of the network is damaged")
    return build(preprocessing, "preprocessing", Preprocessing)  # type: ignore[type-abstract, return-value]


def of_texts(
    texts: Sequence[str],
    tokens: Tokenizer,
    batch_size: int,
    names: Sequence[str] | None = None,
    cut: Counter[str] | None = None,
) -> Generator[Samples, None, None]:
    """Yield texts as the numbers of their tokens, in batches; without `names` they are `text 1` and so on.

    Those that are cut are counted in `cut`, as `texts`.
    """
    for start in range(0, len(texts), batch_size):
        part = list(texts[start : start + batch_size])
        numbers = list(range(start + 1, start + len(part) + 1))
        called = [f"text {number}" for number in numbers] if names is None else list(names[start : start + len(part)])
        made = tokens.of(part)
        if cut is not None:
            cut["texts"] += made.num_cut
        yield Samples(called, numbers, samples_of(made.samples, slice(None)))


def find_texts(given: str, column: str | None) -> NamedTexts:
    """Return the texts that `input=` names: a line each of a .txt file or, with `-`, of standard input; a row each of a
    file of rows or a saved data set, in the `column` or the one with a usual title; or a .txt file each of a folder.
    """
    if given == FROM_STDIN:
        content = sys.stdin.buffer.read() if sys.stdin is not None else b""
        return _numbered(content.decode("utf-8", "replace").splitlines(), "standard input")
    path = expanded(given)
    if path.is_dir() and is_saved_set(path):
        return _of_rows([read_rows(file) for file in saved_rows(path)], column, given)
    if path.is_dir():
        files = sorted(file for file in path.rglob(f"*{TEXT_SUFFIX}") if not file.name.startswith("."))
        if not files:
            raise DataError(f"input={shown(given)} holds no {TEXT_SUFFIX} file")
        return NamedTexts([read_text(file) for file in files], [str(file) for file in files], "path")
    if not holds_rows(path):
        return _numbered(read_lines(path), shown(given))
    return _of_rows([read_rows(path)], column, given)


def _of_rows(files: Sequence[Rows], column: str | None, given: str) -> NamedTexts:
    """Return the texts of files with the same columns."""
    first = files[0]
    title = first.titles[_text_column(first, column)]
    texts = [row[place] for rows in files for place in [column_of(rows, title, "data.text")] for row in rows.cells]
    named = next((other for other in first.titles if other.lower() == _ID and other != title), None)
    if named is None:
        return _numbered(texts, shown(given))
    ids = [row[place] for rows in files for place in [column_of(rows, named, "input")] for row in rows.cells]
    return NamedTexts(texts, ids, named)


def _numbered(texts: list[str], source: str) -> NamedTexts:
    """Return texts named by their numbers, from 1."""
    if not texts:
        raise DataError(f"{source} has no text; write one a line")
    return NamedTexts(texts, [str(number) for number in range(1, len(texts) + 1)], "row")


def _text_column(rows: Rows, column: str | None) -> int:
    """Return the column of the texts: the one that was trained on, or the one with a usual title, or the only one."""
    if column is not None:
        return column_of(rows, column, "data.text")
    low = [title.lower() for title in rows.titles]
    usual = [low.index(title) for title in TEXT_TITLES if title in low]
    if not usual and len(low) > 1:
        raise DataError(
            f"{shown(rows.path)} has the columns {few(rows.titles, 8)}; name the one of the texts: data.text="
        )
    return usual[0] if usual else 0
