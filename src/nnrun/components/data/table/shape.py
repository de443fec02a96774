"""How the cells of columns are distributed in each part, and which columns tell the target by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nnrun.base.paths import shown
from nnrun.base.visible import few
from nnrun.components.data.table.columns import Column
from nnrun.core.seams.data import Split

# Bins of a column whose rows are counted; the categories beyond are one.
_BINS = 16
# The population stability index from which two parts differ, as is usual, and how far beyond chance, in deviations.
_MOST_PSI, _BEYOND_CHANCE = 0.25, 6.0
# A column tells the target from this accuracy, R2 or rank correlation on; of how many rows, and not nearly all alike.
_TELLS_CLASSES, _TELLS_VALUES, _SAME_ORDER = 0.995, 0.995, 0.9999
_LEAST_ROWS, _MOST_COMMON = 50, 0.9
# More rows are not looked at for what tells the target, and more columns are not kept for the report.
_MOST_ROWS, _MOST_COLUMNS = 100_000, 60


def described(
    columns: Sequence[Column], splits: Mapping[str, Split], time: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return facts on the columns of coded splits, and notes on those that differ between parts or tell the target.

    The column `time` differs because the parts were held out by it: there is no note on it.

    The facts are `distributions`, by column: the names of its bins, the rows of each part in them, and the population
    stability index of each part against the training part; and `telling`, why a column may be a leak, by column.
    """
    distributions: dict[str, Any] = {}
    drifted: dict[str, list[str]] = {}
    telling = {}
    for column, place in _places(columns):
        cells = {part: _cells(column, place, split) for part, split in splits.items() if len(split)}
        names, binned = _binned(column, cells)
        counts = {part: torch.bincount(of, minlength=len(names)) for part, of in binned.items()}
        psi = {part: _psi(counts["train"], of) for part, of in counts.items() if part != "train"}
        for part, (index, beyond) in psi.items():
            if index >= _MOST_PSI and beyond >= _BEYOND_CHANCE and column.name != time:
                drifted.setdefault(part, []).append(f"{shown(column.name)} ({index:.2f})")
        if len(distributions) < _MOST_COLUMNS:
            distributions[column.name] = {
                "bins": names,
                "counts": {part: of.tolist() for part, of in counts.items()},
                "psi": {part: round(index, 4) for part, (index, _) in psi.items()},
            }
        if why := _tells(cells["train"], column, splits["train"].targets):
            telling[column.name] = why
    words = {"valid": "validation", "test": "test"}
    notes = [
        f"the {words[part]} split differs from the training split in {few(names, 4)}: population stability index, "
        "alike below 0.1"
        for part, names in drifted.items()
    ]
    notes += [
        f"{shown(name)} alone tells the target ({why}): if it is not known before the target is, leave it out with "
        f"data.drop=[{shown(name)}]"
        for name, why in telling.items()
    ]
    return {"distributions": distributions, "telling": telling}, notes


def _places(columns: Sequence[Column]) -> Iterator[tuple[Column, int]]:
    """Yield each column with its place in its tensor: of a date, that of the days."""
    number = category = 0
    for column in columns:
        yield column, number if column.is_numeric else category
        number += len(column.features)
        category += not column.is_numeric


def _cells(column: Column, place: int, split: Split) -> Tensor:
    """Return the numbers of a column, NaN where empty, or its codes, `(N,)`."""
    return split.inputs["numbers" if column.is_numeric else "categories"][:, place].contiguous()


def _binned(column: Column, cells: Mapping[str, Tensor]) -> tuple[list[str], dict[str, Tensor]]:
    """Return the names of bins, as the training part shows them, and the bin of each row by part; the last is empty."""
    if column.is_numeric:
        edges = torch.tensor(column.features[0].edges, dtype=torch.float32)
        inner = edges[1:-1][:: max(1, -(-(len(edges) - 2) // (_BINS - 1)))].contiguous()
        bins = {part: torch.bucketize(of, inner, right=True) for part, of in cells.items()}
        last = len(inner) + 1
        bins = {part: torch.where(cells[part].isnan(), last, of) for part, of in bins.items()}
        names = [f"to {edge:.4g}" for edge in inner.tolist()]
        return [*names, f"from {float(inner[-1] if len(inner) else edges[0]):.4g}", "empty"], bins
    counts = torch.bincount(cells["train"], minlength=column.num_codes)
    known = counts[2:].argsort(descending=True, stable=True)[: _BINS - 1] + 2
    new = torch.full((column.num_codes,), len(known))
    new[known], new[0] = torch.arange(len(known)), len(known) + 1
    names = [column.categories[code - 2] for code in known.tolist()]
    return [*names, "others", "empty"], {part: new[of] for part, of in cells.items()}


def _psi(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Return the population stability index of two counts of the same bins, and how far it is beyond chance.

    Of samples from one distribution, the index times the harmonic size is about chi-squared. What it may be by chance,
    up to three deviations, is subtracted: that is much for few samples.
    """
    kept = (ours + theirs) > 0
    ours, theirs = ours[kept].double() + 0.5, theirs[kept].double() + 0.5
    if len(ours) < 2:
        return 0.0, 0.0
    p, q = ours / ours.sum(), theirs / theirs.sum()
    index = float(((q - p) * (q / p).log()).sum())
    freedom = len(ours) - 1
    size = float(ours.sum() * theirs.sum() / (ours.sum() + theirs.sum()))
    excess = index * size - freedom
    deviation = (2 * freedom) ** 0.5
    return max(0.0, (excess - 3 * deviation) / size), excess / deviation


def _tells(cells: Tensor, column: Column, targets: Tensor) -> str:
    """Return how well a column alone predicts the target in the training part, if it does so nearly without fault."""
    if len(cells) < _LEAST_ROWS:
        return ""
    rows = torch.linspace(0, len(cells) - 1, min(len(cells), _MOST_ROWS)).long()
    cells, targets = cells[rows], targets[rows]
    if column.is_numeric:
        edges = torch.tensor(column.features[0].edges[1:-1], dtype=torch.float32)
        bins = torch.where(cells.isnan(), len(edges) + 1, torch.bucketize(cells, edges, right=True))
    else:
        bins = cells
    if targets.dim() == 1:
        return _tells_classes(bins, targets)
    for place in range(targets.shape[1]):
        if why := _tells_values(bins, cells if column.is_numeric else None, targets[:, place].double()):
            return why
    return ""


def _tells_classes(bins: Tensor, targets: Tensor) -> str:
    """Return the accuracy of the commonest class of each bin, each half of the rows predicted by the other."""
    num_classes, num_bins = int(targets.max()) + 1, int(bins.max()) + 1
    if float(torch.bincount(targets).max()) > _MOST_COMMON * len(targets) or num_bins * num_classes > len(targets) * 8:
        return ""
    right = 0
    for half in (0, 1):
        fitted, asked = slice(half, None, 2), slice(1 - half, None, 2)
        table = torch.bincount(bins[fitted] * num_classes + targets[fitted], minlength=num_bins * num_classes)
        right += int((table.view(num_bins, num_classes).argmax(1)[bins[asked]] == targets[asked]).sum())
    share = right / len(targets)
    return f"accuracy {share:.4f}" if share >= _TELLS_CLASSES else ""


def _tells_values(bins: Tensor, numbers: Tensor | None, values: Tensor) -> str:
    """Return R2 of the mean of each bin, likewise, or the rank correlation of numbers that are in the same order."""
    spread = float((values - values.mean()).square().sum())
    if not spread:
        return ""
    error = 0.0
    for half in (0, 1):
        fitted, asked = slice(half, None, 2), slice(1 - half, None, 2)
        num = torch.bincount(bins[fitted], minlength=int(bins.max()) + 1)
        sums = torch.bincount(bins[fitted], values[fitted], minlength=len(num))
        means = torch.where(num > 0, sums / num.clamp(min=1), values.mean())
        error += float((values[asked] - means[bins[asked]]).square().sum())
    share = 1 - error / spread
    if share >= _TELLS_VALUES:
        return f"R2 {share:.4f}"
    if numbers is None or bool(numbers.isnan().any()) or len(values.unique()) < _LEAST_ROWS:
        return ""
    ranks = torch.stack([_ranks(numbers.double()), _ranks(values)])
    correlation = float(torch.corrcoef(ranks)[0, 1])
    return f"rank correlation {correlation:.4f}" if abs(correlation) >= _SAME_ORDER else ""


def _ranks(values: Tensor) -> Tensor:
    """Return the rank of each value among the different ones."""
    return torch.unique(values, return_inverse=True)[1].double()
