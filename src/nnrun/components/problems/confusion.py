"""What is shown of a confusion matrix: rows are true classes, columns predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnrun.base.shown import Chart, Shown, Table

# Number of classes or pairs in a one-line summary.
_NUM_NAMED = 3
# A matrix is drawn for up to this many classes; of more, for those that are confused most often.
_MOST_DRAWN, _NUM_DRAWN = 40, 25
# Maximum number of confused pairs in a table.
_MOST_PAIRS = 200

Matrix = Sequence[Sequence[int]]


def class_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the scores of the classes that have samples, the lowest F1 first."""
    ordered = sorted((row for row in rows if row["samples"]), key=lambda row: row["f1"])
    weakest = [f"{row['class']} (F1 {row['f1']:.3f})" for row in ordered[:_NUM_NAMED] if row["f1"] < 1]
    columns = ("class", "precision", "recall", "f1", "samples")
    cells = [[row[column] for column in columns] for row in ordered]
    return Table("Scores of each class, the weakest first", columns, cells, "  ".join(weakest), label="weakest")


def confused_pairs(names: Sequence[str], matrix: Matrix) -> Table:
    """Return the pairs of confused classes, the most frequent first."""
    cells: list[tuple[str, str, int, int]] = [
        (names[true], names[predicted], count, sum(row))
        for true, row in enumerate(matrix)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    cells.sort(key=lambda cell: -cell[2])
    most = [f"{true} -> {predicted} ({count} of {samples})" for true, predicted, count, samples in cells[:_NUM_NAMED]]
    columns = ("true", "predicted", "samples", "of the class")
    return Table("Most confused pairs", columns, cells[:_MOST_PAIRS], "  ".join(most), label="confused")


def matrix_charts(names: Sequence[str], matrix: Matrix) -> list[Shown]:
    """Return the matrix as counts, and as shares of each true class; of many classes those most often confused."""
    note = "Rows are true classes, columns predictions; the diagonal is right."
    drawn: Sequence[int] = range(len(names))
    if len(names) > _MOST_DRAWN:
        drawn = _most_confused(matrix)
        note += f" Of the {len(names):,} classes, the {len(drawn)} that are confused most often."
    x = [names[index] for index in drawn]
    counts = {names[true]: [matrix[true][predicted] for predicted in drawn] for true in drawn}
    shares = {
        names[true]: [count / total if total else None for count in counts[names[true]]]
        for true in drawn
        for total in [sum(matrix[true])]
    }
    return [
        Chart("Confusion matrix", "heatmap", x, counts, "predicted", "true", note=note),
        Chart("Confusion matrix, as shares of the true class", "heatmap", x, shares, "predicted", "true", note=note),
    ]


def _most_confused(matrix: Matrix) -> list[int]:
    """Return the classes with the most mistakes of both kinds, in their order."""
    mistakes = [
        sum(row) + sum(column) - 2 * row[i]
        for i, (row, column) in enumerate(zip(matrix, zip(*matrix, strict=True), strict=True))
    ]
    return sorted(sorted(range(len(mistakes)), key=lambda index: -mistakes[index])[:_NUM_DRAWN])
