"""What is learned of a table once its training part is known, and the description of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnrun.base.errors import DataError
from nnrun.base.paths import shown
from nnrun.base.shown import Table
from nnrun.base.visible import few
from nnrun.components.data.table.coding import learned
from nnrun.components.data.table.columns import Column
from nnrun.components.data.table.kinds import Cells
from nnrun.components.data.table.preprocessing import TablePreprocessing
from nnrun.components.data.table.shape import described
from nnrun.core.seams.data import Findings, Fitted, Split

# The kinds of columns that a network reads; the others are left out.
READ = ("number", "date", "boolean", "category")
# The batch is a power of two with about this many batches in an epoch, between these sizes.
_BATCHES, _LEAST_BATCH, _MOST_BATCH = 32, 32, 1024


@dataclass(frozen=True)
class ToLearn:
    """What is known of a table before its training part is: its columns, their cells, and what settings say.

    `time` is the column by which parts were held out, if any: it differs between them because of that.
    """

    columns: TablePreprocessing
    cells: Mapping[str, Cells]
    targets: Sequence[str]
    num_bins: int
    time: str | None


def fit(given: ToLearn, splits: Mapping[str, Split]) -> Fitted:
    """Return the splits, coded by what their training part shows, and the preprocessing that was learned of it."""
    cells = given.cells
    found, kept, constant = learned(splits, given.columns.columns, given.num_bins)
    if not kept:
        raise DataError("no column to learn from is left: all that are read have the same value in each training row")
    preprocessing = given.columns.with_columns(kept)
    left_out = {name: of.why or of.kind for name, of in cells.items() if of.kind not in (*READ, "part")}
    left_out |= dict.fromkeys(constant, "the same in each training row")
    table = _described(kept, cells, left_out, given.targets)
    facts = {
        "columns": {column.name: column.kind for column in kept},
        "left_out": left_out,
        "recommended_batch_size": batch_size_for(len(splits["train"])),
    }
    notes = [f"left out: {few([f'{name} ({why})' for name, why in left_out.items()], 8)}"] if left_out else []
    notes += [
        f"{shown(column.name)} has numbers with {cells[column.name].signs}, read as categories: write all of them in "
        "one unit, with the same sign or none"
        for column in kept
        if cells[column.name].signs
    ]
    more, told = described(kept, found, given.time)
    findings = Findings((*notes, *told), facts=facts | more, tables=(table,))
    return Fitted(found, preprocessing, {"table": preprocessing.sizes}, findings)


def batch_size_for(num_samples: int) -> int:
    """Return the default size of a batch for a number of training rows: small tables need small batches."""
    return min(_MOST_BATCH, max(_LEAST_BATCH, 2 ** (num_samples // _BATCHES).bit_length() // 2))


def _described(
    columns: Sequence[Column], cells: Mapping[str, Cells], left_out: Mapping[str, str], targets: Sequence[str]
) -> Table:
    """Return the table of the columns: what each is, and what was found in it."""
    rows = [(name, "target", "") for name in targets]
    by_name = {column.name: column for column in columns}
    for name, of in cells.items():
        empty = of.values.null_count()
        gaps = f", {empty:,} empty" if empty else ""
        if name in by_name:
            rows.append((name, of.kind, _told(by_name[name], of) + gaps))
        else:
            rows.append((name, of.kind, "says the part" if of.kind == "part" else f"left out: {left_out[name]}"))
    kinds = [column.kind for column in columns]
    summary = ", ".join(f"{kinds.count(kind)} {kind}" for kind in READ if kind in kinds)
    return Table("columns", ("column", "kind", "found"), rows, summary)


def _told(column: Column, cells: Cells) -> str:
    """Return what was found in a column."""
    if not column.is_numeric:
        names = few(column.categories, 3, 20)
        rare = cells.values.n_unique() - len(column.categories) - bool(cells.values.null_count())
        seen_once = f", {rare:,} as unknown: once or never in training" if rare else ""
        return f"{len(column.categories):,} categories: {names}{seen_once}"
    low, high = cells.values.min(), cells.values.max()
    span = f"{low:g} to {high:g}" if column.kind == "number" else f"{low:%Y-%m-%d} to {high:%Y-%m-%d}"  # type: ignore[str-bytes-safe]
    written = (
        f", written {column.written}"
        if column.written and (column.kind == "number" or _may_differ(column.written))
        else ""
    )
    return span + written


def _may_differ(written: str) -> bool:
    """Return whether the day and the month of a date may be meant the other way round."""
    return written[:2] in ("%m", "%d") and "." not in written
