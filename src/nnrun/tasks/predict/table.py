"""predictions.csv: a line for each image, in the table's form or in the one that Kaggle takes; whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from nnrun.assembly.prediction.predictor import Ranked
from nnrun.assembly.prediction.raw_images import Images
from nnrun.base.files import DurableFile, saving
from nnrun.base.targets import Targets
from nnrun.base.visible import as_cell
from nnrun.tasks.predict.record import PredictSettings

FILE_NAME = "predictions.csv"


class PredictionFile:
    """Write predictions as they come. The file appears with `commit`; without it nothing is left behind."""

    def __init__(self, folder: Path, settings: PredictSettings, targets: Targets) -> None:
        self.path = folder / FILE_NAME
        self._settings = settings
        self._names = targets.names
        self._top_k = min(settings.top_k or 0, targets.num_outputs)
        self._open = ExitStack()
        # Cells that a spreadsheet would have taken for formulas.
        self.num_quoted = 0

    @property
    def num_ranks(self) -> int:
        """How many classes of each image are wanted."""
        return max(self._top_k, 1)

    def __enter__(self) -> PredictionFile:
        with saving(self.path):
            self._file = self._open.enter_context(DurableFile(self.path.parent))
        self._write([self._titles()])
        return self

    def __exit__(self, *cause: object) -> None:
        self._open.__exit__(*cause)  # type: ignore[arg-type]

    def add(self, images: Images, ranked: Ranked) -> None:
        """Write a line for each of some images."""
        rows = zip(images.names, images.numbers, ranked.classes.tolist(), ranked.probabilities.tolist(), strict=True)
        if self._settings.format == "kaggle":
            self._write([[self._id(name, number), self._names[top[0]]] for name, number, top, _ in rows])
            return
        self._write([[name, *self._pairs(top[:1], p), *self._pairs(top[: self._top_k], p)] for name, _, top, p in rows])

    def commit(self) -> None:
        """Let the file appear."""
        with saving(self.path):
            self._file.commit(self.path.name)

    def _titles(self) -> list[str]:
        """Return the first line."""
        if self._settings.format == "kaggle":
            return [self._settings.id_column, self._settings.label_column]
        ranks = range(1, self._top_k + 1)
        return ["path", "class", "probability", *(f"{what}_{r}" for r in ranks for what in ("class", "probability"))]

    def _id(self, name: str, number: int) -> str | int:
        """Return what an image is called in Kaggle's form."""
        return number if self._settings.id == "number" else Path(name).stem

    def _pairs(self, classes: Sequence[int], probabilities: Sequence[float]) -> list[str]:
        """Return the name of each class, and its probability in six digits."""
        pairs = zip(classes, probabilities, strict=False)
        return [text for number, value in pairs for text in (self._names[number], f"{value:.6g}")]

    def _write(self, rows: Sequence[Sequence[object]]) -> None:
        """Write some lines; what is no UTF-8 in a file's name stays as it is."""
        text = io.StringIO()
        cells = [[as_cell(value) for value in row] for row in rows]
        pairs = (pair for row, of in zip(rows, cells, strict=True) for pair in zip(row, of, strict=True))
        self.num_quoted += sum(value != cell for value, cell in pairs)
        csv.writer(text, lineterminator="\n").writerows(cells)
        with saving(self.path):
            self._file.write(text.getvalue().encode("utf-8", "surrogateescape"))
