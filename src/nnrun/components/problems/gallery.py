"""The costliest samples of a test: those with the largest losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nnrun.base.sample_results import SampleResults
from nnrun.base.shown import Gallery, Shown, Table, Text, counted

_NUM_SHOWN = 24
# The title of the column with the texts of samples, or the cells of their rows.
CONTENTS = "contents"


def costliest(results: SampleResults, caption: Callable[[int], str]) -> list[Shown]:
    """Return the costliest mistakes, or samples if nothing is simply wrong; `caption` describes a row of results."""
    rows = results.costliest(_NUM_SHOWN)
    if not rows:
        return []
    are_mistakes = results.kind != "values" and not results.are_right[rows[0]]
    title = "Costliest mistakes" if are_mistakes else "Costliest samples"
    indices = results.indices[rows].tolist()
    if results.texts:
        cells = [
            (name, caption(row), results.texts.get(index))
            for index, name, row in zip(indices, sample_names(results, rows), rows, strict=True)
        ]
        return [Table(title, ("sample", "result", CONTENTS), cells)]
    short = sample_names(results, rows) if results.paths is not None else [""] * len(rows)
    captions = {
        index: f"{name}: {caption(row)}" if name else caption(row)
        for index, name, row in zip(indices, short, rows, strict=True)
    }
    pictures = {index: results.pictures[index] for index in indices if index in results.pictures}
    return [Gallery(title, "test", captions, pictures)]


def sample_names(results: SampleResults, rows: Sequence[int]) -> list[str]:
    """Return the names of samples, or their positions in the test split, given rows of results."""
    if results.paths is None:
        return [str(results.indices[row]) for row in rows]
    return short_names([results.paths[row] for row in rows])


def short_names(paths: list[str]) -> list[str]:
    """Return paths without the folders that all of them share."""
    low, high = min(paths), max(paths)
    same = next((at for at, pair in enumerate(zip(low, high, strict=False)) if pair[0] != pair[1]), len(low))
    start = low[:same].rfind("/") + 1
    return [path[start:] for path in paths]


def only_some(results: SampleResults) -> Text:
    """Say why there are no curves: only the results of the costliest samples are kept."""
    kept = counted(len(results.indices), "sample")
    return Text(
        "Curves and calibration",
        f"Not shown: of {results.num_samples:,} test samples, only the {kept} with the largest losses are kept.",
    )
