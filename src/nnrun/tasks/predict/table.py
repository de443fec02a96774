"""predictions.csv: a line for each sample, as a table or in Kaggle's format; complete or not there at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from torch import Tensor

from nnrun.assembly.prediction.raw_images import Samples
from nnrun.base.files import DurableFile, saving
from nnrun.base.visible import as_cell, distinct
from nnrun.core.seams.problem import Problem
from nnrun.tasks.predict.record import PredictSettings

FILE_NAME = "predictions.csv"


class PredictionFile:
    """Write predictions as they come. The file appears with `commit`; without it nothing is left behind."""

    def __init__(self, folder: Path, settings: PredictSettings, problem: Problem, title: str = "path") -> None:
        self.path = folder / FILE_NAME
        self._settings = settings
        self._problem = problem
        # The title of the column with the samples' names.
        self._title = title
        self._open = ExitStack()
        # Number of cells that a spreadsheet would have evaluated as formulas.
        self.num_quoted = 0

    def __enter__(self) -> PredictionFile:
        with saving(self.path):
            self._file = self._open.enter_context(DurableFile(self.path.parent))
        self._write([self._titles()])
        return self

    def __exit__(self, *cause: object) -> None:
        self._open.__exit__(*cause)  # type: ignore[arg-type]

    def add(self, samples: Samples, predictions: Tensor) -> None:
        """Write a line for each sample."""
        if self._settings.format == "kaggle":
            answers = zip(samples.names, samples.numbers, self._problem.answers(predictions), strict=True)
            self._write([[self._id(name, number), answer] for name, number, answer in answers])
            return
        rows = self._problem.rows(predictions, self._settings.top_k)
        self._write([[name, *map(_as_text, row)] for name, row in zip(samples.names, rows, strict=True)])

    def commit(self) -> None:
        """Give the file its final name."""
        with saving(self.path):
            self._file.commit(self.path.name)

    def _titles(self) -> list[str]:
        """Return the header line."""
        if self._settings.format == "kaggle":
            return [self._settings.id_column, self._settings.label_column]
        return distinct([self._title, *self._problem.columns(self._settings.top_k)])

    def _id(self, name: str, number: int) -> str | int:
        """Return the id of an image in Kaggle's format."""
        if self._title != "path":
            return name
        return number if self._settings.id == "number" else file_id(name, self._settings.id)

    def _write(self, rows: Sequence[Sequence[object]]) -> None:
        """Write lines; bytes of a file name that are not UTF-8 are written unchanged."""
        text = io.StringIO()
        cells = [[as_cell(value) for value in row] for row in rows]
        pairs = (pair for row, of in zip(rows, cells, strict=True) for pair in zip(row, of, strict=True))
        self.num_quoted += sum(value != cell for value, cell in pairs)
        csv.writer(text, lineterminator="\n").writerows(cells)
        with saving(self.path):
            self._file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def file_id(file: str, form: str) -> str:
    """Return a file's name as its id, without the suffix if `form` is stem."""
    return Path(file).stem if form == "stem" else Path(file).name


def _as_text(value: object) -> object:
    """Return a cell as it is written: a float with six significant digits."""
    return f"{value:.6g}" if isinstance(value, float) else value
