"""A CSV file of labels: which images it lists, and which split each belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from nnrun.base.errors import DataError
from nnrun.base.files import state_of
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.base.visible import few
from nnrun.components.data.csv_table import FILE_TITLE, FILE_TITLES, Table
from nnrun.components.data.finding import has_image_suffix
from nnrun.components.data.label_lists import PART_TITLE
from nnrun.components.data.layout import part_and_rest, same_name
from nnrun.components.data.listed_images import ListedImages, NoSuchImage
from nnrun.components.data.listing import PART_NAMES, LabelledFile
from nnrun.components.data.named_columns import refuse_lacking
from nnrun.components.data.opened_images import reading
from nnrun.components.data.order import path_key
from nnrun.components.data.split_columns import KeySettings, is_pattern

_PARTS = {word: part for part, words in PART_NAMES.items() for word in words}
_MOST_NAMED = 5
# A table with so many columns, none of which names a file that is there, holds the pixels themselves.
_COLUMNS_OF_PIXELS = 50


class Roles(NamedTuple):
    """The columns of a table with the file of a sample, its split, if there is one, its targets, and its group and
    time, by setting.
    """

    file: int
    part: int | None
    learned: tuple[int, ...]
    keys: Mapping[str, int]


@dataclass(frozen=True)
class Listed:
    """The images that a table lists, by split, sorted by name (the `label` of each is its row), and what to report.

    Without splits there is one, `all`.
    """

    parts: dict[str, list[LabelledFile]]
    notes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    facts: Mapping[str, int] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """The key of a cache of these files, without the targets, which may change."""
        return "\n".join(f"{part}/{file.name}\0{file.state}" for part, files in self.parts.items() for file in files)


def roles_of(
    table: Table, wanted: str | Sequence[str] | None, keys: KeySettings, *, is_evaluation: bool = False
) -> Roles:
    """Return the roles of a table's columns; the targets are the `wanted` ones, or else all others.

    The file is in the column `file`, or else where `_column_of_files` finds it.
    """
    low, name = [title.lower() for title in table.titles], shown(table.path)
    file = low.index(FILE_TITLE) if FILE_TITLE in low else _column_of_files(table)
    first = shown(table.titles[file])
    part = low.index(PART_TITLE) if PART_TITLE in low else None
    others = {title: column for column, title in enumerate(table.titles) if title and column not in (file, part)}
    named = {f"data.{key}": of for key, of in keys.titles.items() if same_name(of) in others or not is_pattern(of)}
    refuse_lacking({"data.target": wanted, **named}, list(others), name, is_evaluation=is_evaluation)
    places = {key: others[same_name(of)] for key, of in keys.titles.items() if same_name(of) in others}
    if wanted is None:
        others = {title: column for title, column in others.items() if column not in places.values()}
    if wanted is not None:
        asked = [same_name(title) for title in ([wanted] if isinstance(wanted, str) else wanted)]
        others = {title: others[title] for title in asked}
    if not others:
        lacks = f"{name} has no column besides {first}" if wanted is None else "data.target=[] names no column"
        raise DataError(f"{lacks}: there is no target to learn")
    return Roles(file, part, tuple(others.values()), places)


def _column_of_files(table: Table) -> int:
    """Return the column of files: the first whose first cell names an image, or with a usual title for files, or the
    first with a title.
    """
    titles = [title.lower() for title in table.titles]
    by_cell = [column for column, cell in enumerate(table.rows[0]) if has_image_suffix(cell)]
    by_title = [column for column, title in enumerate(titles) if title in FILE_TITLES]
    return next(iter([*by_cell, *by_title, *(column for column, title in enumerate(titles) if title)]))


def list_rows(root: Path, table: Table, roles: Roles, *, skips: bool) -> Listed:
    """Return the images that a table lists; a missing one is skipped with `skips`, or else an error.

    Raises DataError that names the line where a path leads outside, or two lines of one file differ.
    """
    images = ListedImages(root)
    rows: dict[str, int] = {}
    wrong: list[str] = []
    missing: list[str] = []
    num_again = 0
    for row, cells in enumerate(table.rows):
        try:
            name = images.named(cells[roles.file], _part_meant(table, roles, row))
        except NoSuchImage as error:
            (missing if error.is_missing else wrong).append(f"{table.at(row)}: {shown(cells[roles.file])} {error}")
            continue
        first = rows.setdefault(name, row)
        num_again += first != row
        if any(cells[column] != table.rows[first][column] for column in _said(roles)):
            again = f"{shown(cells[roles.file])} is already in line {table.lines[first]:,}"
            wrong.append(f"{table.at(row)}: {again}, with different values")
    if wrong:
        raise _many(wrong)
    if missing and not (skips and rows):
        way = "skip them with data.on_bad=skip"
        if len(table.titles) >= _COLUMNS_OF_PIXELS:
            way = f"for a table of pixels use data=arrays data.root={shown(table.path)}"
        raise _many(missing, f"the files of {len(missing):,} of {len(table.rows):,} lines are missing; {way}")
    files = {
        part: [_file(images.present[name], name, rows[name]) for name in sorted(names, key=path_key)]
        for part, names in _parts(table, rows, roles.part).items()
    }
    unlisted = sorted(images.present.keys() - rows.keys(), key=path_key)
    notes = [*_titles_made_up(table), *_notes(shown(table.path.name), num_again, images.num_below, (missing, unlisted))]
    details = [f"skipped: {line}" for line in missing]
    details += [f"skipped: {shown(name)} is not in {shown(table.path.name)}" for name in unlisted]
    return Listed(files, tuple(notes), tuple(details), {"unlabelled": len(unlisted), "missing": len(missing)})


def _part_meant(table: Table, roles: Roles, row: int) -> str:
    """Return the split of a row, by its column or by the list's file name; an empty string where neither says it."""
    if roles.part is not None:
        return _PARTS.get(table.rows[row][roles.part].lower(), "")
    return part_and_rest(table.path.stem)[0]


def _said(roles: Roles) -> tuple[int, ...]:
    """Return the columns with values of a file."""
    learned = (*roles.learned, *roles.keys.values())
    return learned if roles.part is None else (*learned, roles.part)


def _titles_made_up(table: Table) -> Iterator[str]:
    """Yield the note on a file without a header."""
    if not table.has_titles:
        titles = " and ".join(title for title in table.titles if title != PART_TITLE)
        yield f"{shown(table.path.name)} has no header line: its columns are read as {titles}"


def _notes(name: str, num_again: int, num_below: int, left_out: tuple[Sequence[str], Sequence[str]]) -> Iterator[str]:
    """Yield notes on the files that a table lists, and on those that it does not."""
    missing, unlisted = left_out
    if num_again:
        yield f"{counted(num_again, 'repeated line')} of {name} with the same values: each file is used once"
    if num_below:
        yield f"{counted(num_below, 'file')} of {name} found in subfolders of data.root that it does not name"
    if missing:
        yield f"skipped: {counted(len(missing), 'missing file')} of {name} (data.on_bad=skip); run.log names them"
    if unlisted:
        files, names = counted(len(unlisted), "image file"), few([shown(other) for other in unlisted], 3)
        yield f"skipped: {files} that {name} does not list ({names}); run.log names them"


def _parts(table: Table, rows: Mapping[str, int], part: int | None) -> dict[str, list[str]]:
    """Return the file names by split: from a column, or from the split folders that they are in; else `all`."""
    wrong: list[str] = []
    if part is None:
        said = {name: name.partition("/")[0].lower() if "/" in name else "" for name in rows}
        if not set(said.values()) <= _PARTS.keys() or "train" not in {_PARTS[word] for word in said.values()}:
            return {"all": list(rows)}
    else:
        said = {name: table.rows[row][part].lower() for name, row in rows.items()}
        title, allowed = shown(table.titles[part]), "allowed: train, valid, test"
        wrong = [
            f"{table.at(rows[name])}: {title} is {shown(word) or 'empty'}; {allowed}"
            for name, word in said.items()
            if word not in _PARTS
        ]
    if wrong:
        raise _many(wrong)
    found = {of: [name for name, word in said.items() if _PARTS[word] == of] for of in PART_NAMES}
    return {of: names for of, names in found.items() if names}


def _many(wrong: Sequence[str], *way: str) -> DataError:
    """Return the error with the first problems and the number of the others."""
    rest = len(wrong) - _MOST_NAMED
    return DataError(*wrong[:_MOST_NAMED], *([f"and {rest:,} more"] if rest > 0 else []), *way)


def _file(path: Path, name: str, row: int) -> LabelledFile:
    """Return a listed file with its row and the state that tells whether it has changed."""
    with reading(path):
        status = path.stat() if path.exists() else path.lstat()
    return LabelledFile(str(path), name, row, state_of(status))
