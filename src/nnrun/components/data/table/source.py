"""`data=table`: one file, or one for each part, whose columns are found out or set."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnrun.base.errors import ConfigError, DataError, did_you_mean
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.components.data.dataset_from_parts import Choices, divided, with_shared
from nnrun.components.data.layout import part_and_rest, same_name
from nnrun.components.data.named_columns import refuse_lacking
from nnrun.components.data.split_columns import KeySettings, split_keys
from nnrun.components.data.table.coding import coded, column_of
from nnrun.components.data.table.columns import packed_titles
from nnrun.components.data.table.files import find_files
from nnrun.components.data.table.fit import READ, ToLearn, fit
from nnrun.components.data.table.given import given_cells
from nnrun.components.data.table.identity import sample_hashes
from nnrun.components.data.table.image_columns import IMAGES
from nnrun.components.data.table.kinds import Cells, cells_of
from nnrun.components.data.table.new_rows import check_sign, wrong_cell
from nnrun.components.data.table.preprocessing import TablePreprocessing
from nnrun.components.data.table.rows import Rows, together, with_targets
from nnrun.components.data.table.targets import TargetColumns, learned_of_table
from nnrun.core.seams.data import Dataset, Evaluation, Findings, Split

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Table:
    """Open a table: CSV, TSV, Parquet, Arrow or JSON lines, in one file or in a folder with train, valid and test.

    `target` names the columns that are learned, `targets` their kind. `columns` sets the kinds of columns, by title;
    `drop` lists columns to leave out. A column of the kind `part` says which part each row is in, the column `group`
    which rows stay together, and the column `time` which are the newest. A number is also given to the network in
    `bins` bins.
    """

    root: str
    target: str | Sequence[str] | None
    columns: Mapping[str, str] | None
    drop: Sequence[str] | None
    bins: int
    test_fraction: float | None
    split_seed: int
    split_by: str
    class_order: str = "natural"
    targets: str = "auto"
    group: str | None = None
    time: str | None = None

    def load(self) -> Dataset:
        """Read the table; raise DataError that names the file, the line and the column where it is wrong."""
        return self._load(None)

    def load_for(self, evaluation: Evaluation) -> Dataset:
        """Do the same to evaluate a trained network: with its targets, and its columns coded as in its training."""
        return self._load(evaluation)

    def _load(self, evaluation: Evaluation | None) -> Dataset:
        rows = together(find_files(self.root, for_test=evaluation is not None))
        known = None if evaluation is None else evaluation.targets
        trained = None
        if evaluation is not None and evaluation.preprocessing is not None:
            of_run = evaluation.preprocessing
            trained = TablePreprocessing(of_run.get("columns", []), of_run.get("titles", ()))
        names = self._checked_names(rows, is_evaluation=evaluation is not None)
        rows = with_targets(rows, names)
        series = {name: rows.frame[name] for name in names}
        what = learned_of_table(
            TargetColumns(series, rows.has_decimal_commas, rows.at), self.targets, self.class_order, known
        )
        cells = self._cells(rows, names, trained)
        columns = trained.columns if trained else [column_of(name, of) for name, of in cells.items() if of.kind in READ]
        if not columns:
            images = [shown(name) for name, of in cells.items() if of.why == IMAGES]
            way = f"; for the images in the column {few(images)}, use data=folder" if images else ""
            raise DataError(
                f"{shown(rows.path)} has no column to learn from besides {few(list(map(shown, names)))}{way}"
            )
        told, lacks = _recognizable(rows, trained)
        hashes = torch.from_numpy(sample_hashes(told))
        given = given_cells(rows.frame, cells)
        whole = Split(coded(cells, columns), what.values["all"], None, hashes, hashes, given=given)
        parts = self._parts(rows, cells, whole)
        choices = Choices(self.test_fraction, self.split_seed, self.split_by, None, None, evaluation)
        splits = divided(parts, what.targets, choices)
        about = {"unrecognizable": lacks} if lacks else {}
        findings = with_shared(Findings((*rows.notes, *what.notes, *about.values()), facts=about), splits)
        preprocessing = trained or TablePreprocessing(columns, packed_titles(rows.frame.columns))
        return Dataset(
            train=splits["train"],
            test=splits["test"],
            valid=splits.get("valid"),
            targets=what.targets,
            preprocessing=preprocessing,
            fingerprint=_fingerprint(splits, what.targets),
            findings=findings,
            became={"targets": what.targets.kind},
            test_is_drawn="test" not in parts,
            facts={"table": preprocessing.sizes},
            fit=None if trained else functools.partial(fit, ToLearn(preprocessing, cells, names, self.bins, self.time)),
        )

    def _parts(self, rows: Rows, cells: Mapping[str, Cells], whole: Split) -> dict[str, Split]:
        """Return the parts that the table has, with their groups and times."""
        where = _rows_of_parts(rows, cells)
        named = KeySettings(self.group, self.time)
        found: dict[str, dict[str, list[object]]] = {}
        for key, name in named.titles.items():
            words = rows.frame[same_name(name)].cast(str).to_list()
            found[key] = {part: [words[row] for row in of.tolist()] for part, of in where.items()}
        keys = split_keys(named, found, lambda part, index: rows.at(int(where[part][index])))
        return {part: replace(whole.subset(of), keys=keys.get(part)) for part, of in where.items()}

    def _checked_names(self, rows: Rows, *, is_evaluation: bool) -> list[str]:
        """Return the titles of the target columns; raise an error where there is none, and for all settings that name a
        column that is not there.
        """
        titles = rows.frame.columns
        if self.target is None or self.target == []:
            raise ConfigError(
                f"data.target must be given: name the column to predict; {shown(rows.path)} has "
                f"{few(list(map(shown, titles)), 20)}"
            )
        asked = [self.target] if isinstance(self.target, str) else list(self.target)
        named: dict[str, str | Sequence[str] | None] = {
            "data.target": asked,
            "data.columns": list(self.columns or {}),
            "data.drop": self.drop,
            "data.group": self.group,
            "data.time": self.time,
        }
        refuse_lacking(named, titles, shown(rows.path), is_evaluation=is_evaluation)
        return [same_name(name) for name in asked]

    def _cells(self, rows: Rows, targets: Sequence[str], trained: TablePreprocessing | None) -> dict[str, Cells]:
        """Return the cells of each column that is not a target and not dropped.

        For a trained network these are the columns that it reads, and the one that says the part.
        """
        given = {same_name(name): kind for name, kind in (self.columns or {}).items()}
        dropped = {same_name(name) for name in self.drop or ()}
        columns = {column.name: column for column in trained.columns} if trained else {}
        read = {name: column.kind for name, column in columns.items()} if trained else None
        found = {}
        for name in rows.frame.columns:
            is_read = read is None or name in read or given.get(name, "part") == "part"
            if name in targets or name in dropped or not is_read:
                continue
            kind_set: str | None = (read or given).get(name)
            if name == self.group and read is None:
                kind_set = "id"
            way = columns[name].written if name in columns else ""
            cells = cells_of(rows.frame[name], kind_set, has_decimal_commas=rows.has_decimal_commas, written=way)
            if cells.wrong is not None:
                raise _wrong_cell(rows, name, cells)
            if name in columns:
                check_sign(rows.frame[name], cells, columns[name], rows.at)
            if read is None or name in read or cells.kind == "part":
                found[name] = cells
        for name in read or ():
            if name not in found:
                hint = did_you_mean(name, rows.frame.columns) or f"it has {few(list(map(shown, rows.frame.columns)))}"
                raise DataError(f"{shown(rows.path)} has no column {shown(name)}, which the network reads; {hint}")
        return found


def _recognizable(rows: Rows, trained: TablePreprocessing | None) -> tuple[pl.DataFrame, str]:
    """Return the columns by whose cells rows are held out and recognized, and which of them are missing, in words.

    For a trained network they are those that the table of its training had, whatever else this one has.
    """
    if trained is None or not trained.titles:
        return rows.frame, ""
    lacking = [title for title in trained.titles if title not in rows.frame.columns]
    if not lacking:
        return rows.frame.select(trained.titles), ""
    return rows.frame, (
        f"{shown(rows.path)} lacks {counted(len(lacking), 'column')} of the training's table, "
        f"{few(list(map(shown, lacking)))}: rows that the network was trained on cannot be recognized"
    )


def _wrong_cell(rows: Rows, name: str, cells: Cells) -> DataError:
    """Return the error that names a cell that is not of the kind of its column."""
    assert cells.wrong is not None
    return DataError(
        f"{rows.at(cells.wrong)}: {shown(name)} is {wrong_cell(rows.frame[name], cells)}; correct it, or set "
        f"data.columns='{{{shown(name)}: category}}'"
    )


def _rows_of_parts(rows: Rows, cells: Mapping[str, Cells]) -> dict[str, Tensor]:
    """Return the rows of each part: of its file, or by the column that says the part."""
    of_files = rows.of_parts()
    columns = [name for name, of in cells.items() if of.kind == "part"]
    if not columns:
        return {part: torch.arange(where.start, where.stop) for part, where in of_files.items()}
    if len(columns) > 1:
        raise DataError(f"{few(list(map(shown, columns)))} both name the parts of rows; leave one out with data.drop=")
    if len(of_files) > 1:
        raise DataError(
            f"{shown(columns[0])} names the parts of rows, but each part has a file; add data.drop=[{columns[0]}]"
        )
    words = cells[columns[0]].values
    found: dict[str, list[Tensor]] = {}
    for word in words.unique().sort():
        part = "" if word is None else part_and_rest(str(word))[0]
        where = torch.from_numpy((words.is_null() if word is None else words == word).arg_true().to_numpy().copy())
        if part not in ("train", "valid", "test"):
            said = "empty" if word is None else shown(str(word))
            raise DataError(f"{rows.at(int(where[0]))}: {shown(columns[0])} is {said}; parts are train, valid and test")
        found.setdefault(part, []).append(where.long())
    if "train" not in found and "test" not in found:
        raise DataError(f"{shown(columns[0])} names no row for training")
    order = [part for part in ("train", "valid", "test") if part in found]
    return {part: torch.cat(found[part]).sort().values for part in order}


def _fingerprint(splits: Mapping[str, Split], targets: Targets) -> str:
    """Return a hash of the rows of each part, in order, and of what is learned of them."""
    sha256 = hashlib.sha256(repr(targets.to_plain()).encode("utf-8", "surrogateescape"))
    for name, split in splits.items():
        sha256.update(repr((name, len(split))).encode())
        sha256.update(split.digested().contiguous().numpy().data)
        sha256.update(split.targets.contiguous().numpy().data)
    return sha256.hexdigest()
