"""One wide table, metrics.csv: a row for each step, a column for each value."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnrun.base.files import write_text
from nnrun.base.paths import alone, inside
from nnrun.core.seams.training import RunInfo


class CsvTable:
    """Write all values of a step into one row of metrics.csv, in the run's directory.

    A row is written once a later step has values; a new column is added to the whole table.
    """

    def start(self, run: RunInfo) -> None:
        """Write the rows that a resumed run has kept: those after its checkpoint are sent again."""
        self._path = alone(inside(run.directory, "metrics.csv"))
        self._columns: dict[str, None] = {}
        self._step, self._values = 0, dict[str, float]()
        rows: dict[int, dict[str, float]] = {}
        for step, values in run.rows:
            rows.setdefault(step, {}).update(values)
            self._columns |= dict.fromkeys(values)
        if rows:
            self._step, self._values = rows.popitem()
        self._write(rows)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add values to the row of their step; write the row before it."""
        if step != self._step:
            self._append()
            self._step, self._values = step, {}
        self._values |= values

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the last row."""
        self._append()

    def _append(self) -> None:
        """Write the row in progress, and the whole table if the row has new columns."""
        if not self._values:
            return
        if new := self._values.keys() - self._columns.keys():
            rows = _read(self._path)
            self._columns |= {name: None for name in self._values if name in new}
            self._write(rows | {self._step: self._values})
            return
        with self._path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(self._row(self._step, self._values))

    def _write(self, rows: Mapping[int, Mapping[str, Any]]) -> None:
        """Write the table, whole or not at all."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["step", *self._columns])
        writer.writerows(self._row(step, values) for step, values in rows.items())
        write_text(self._path, text.getvalue())

    def _row(self, step: int, values: Mapping[str, Any]) -> list[Any]:
        """Return a row of the table; an empty cell where a step has no value."""
        return [step, *(values.get(name, "") for name in self._columns)]


def _read(path: Path) -> dict[int, dict[str, str]]:
    """Return the rows of a table by their step."""
    with path.open(encoding="utf-8", newline="") as file:
        return {int(row.pop("step")): {n: v for n, v in row.items() if v != ""} for row in csv.DictReader(file)}
