"""Find the files of a table: one, one or several for each part, or a saved data set of Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnrun.base.errors import DataError, did_you_mean
from nnrun.base.paths import expanded, shown
from nnrun.base.visible import few
from nnrun.components.data.hub_sets import check_trains, is_saved_set, parts_below, saved_parts, whole_name
from nnrun.components.data.layout import part_and_rest
from nnrun.components.data.table.reader import KINDS, ZIPPED, is_table


@dataclass(frozen=True)
class Files:
    """The files of each part of a table, `all` for one that is not divided, and notes on what is left out."""

    parts: Mapping[str, Sequence[Path]]
    notes: tuple[str, ...] = ()


def find_files(root: str, *, for_test: bool) -> Files:
    """Return the files of a table by part; raise DataError where they are not there.

    A folder holds one file, or one for each part, such as train.csv and test.csv, or a saved data set of Hugging Face.
    A part may have several numbered files. `for_test` allows a test file alone.
    """
    path = expanded(root).absolute()
    if not path.is_dir():
        if not path.exists():
            near = did_you_mean(
                path.name, [other.name for other in path.parent.glob("*")] if path.parent.is_dir() else []
            )
            raise DataError(f"data.root={shown(root)} does not exist{near and '; ' + near}")
        if not is_table(path):
            raise DataError(
                f"data.root={shown(root)} is not a table: tables are {', '.join(KINDS)}, also with {ZIPPED}"
            )
        return Files({"all": [path]})
    if is_saved_set(path):
        saved, note = saved_parts(path)
        check_trains(saved, root, for_test=for_test)
        return Files(saved, (note,) if note else ())
    files = sorted(file for file in path.iterdir() if is_table(file) and not file.name.startswith((".", "_")))
    if not files:  # as a repository of the hub has its Parquet
        below, note = parts_below(path)
        if below:
            check_trains(below, root, for_test=for_test)
            return Files(below, (note,) if note else ())
        raise DataError(f"data.root={shown(root)} has no table: tables are {', '.join(KINDS)}, also with {ZIPPED}")
    parts: dict[str, list[Path]] = {}
    for file in files:
        part = part_and_rest(file.name.partition(".")[0])[0]
        if part in ("train", "valid", "test"):
            if part in parts and whole_name(parts[part][0]) != whole_name(file):
                raise DataError(
                    f"data.root={shown(root)} has two files for {part}: {parts[part][0].name} and {file.name}"
                )
            parts.setdefault(part, []).append(file)
    if "train" in parts or (for_test and "test" in parts):
        return Files(parts)
    if len({whole_name(file) for file in files}) == 1:
        return Files({"all": files})
    names = few([shown(file.name) for file in files])
    raise DataError(f"data.root={shown(root)} has several tables, {names}: name one, or call them train and test")
