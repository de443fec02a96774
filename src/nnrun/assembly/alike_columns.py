"""Columns that say nearly the same: a network may use either, so shuffling one hides what both are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from nnrun.core.seams.columns import InputColumn

# The rank correlation from which numbers are alike; of more columns than this, the first are compared.
_ALIKE, _MOST_COMPARED = 0.95, 500


def groups_of(columns: Sequence[InputColumn], inputs: Mapping[str, Tensor]) -> list[list[int]]:
    """Return groups of columns, as their places in `columns`, that are alike in pairs or by way of others.

    Numbers are alike if their ranks correlate, texts if each is another name of the other.
    """
    numbers: list[int] = []
    texts: list[int] = []
    cells = {}
    for place, column in enumerate(columns):
        cells[place] = inputs[column.leaf][:, column.places[0]]
        kind = numbers if cells[place].is_floating_point() else texts
        if len(kind) < _MOST_COMPARED:
            kind.append(place)
    pairs = _correlated({place: cells[place] for place in numbers})
    found = {place: cells[place].unique(return_inverse=True) for place in texts}
    for one, other in combinations(texts, 2):
        (ours, of_ours), (theirs, of_theirs) = found[one], found[other]
        if len(ours) == len(theirs) and len((of_ours * len(theirs) + of_theirs).unique()) == len(ours):
            pairs.append((one, other))
    return _joined(pairs)


def _correlated(cells: Mapping[int, Tensor]) -> list[tuple[int, int]]:
    """Return the pairs of columns of numbers whose ranks correlate; an empty cell has the mean rank."""
    if len(cells) < 2:
        return []
    ranks = torch.stack([_ranks(of) for of in cells.values()])
    correlation = torch.corrcoef(ranks).abs().nan_to_num(0.0).triu(1)
    places = list(cells)
    return [(places[one], places[other]) for one, other in (correlation >= _ALIKE).nonzero().tolist()]


def _ranks(cells: Tensor) -> Tensor:
    """Return the mean rank of each number, as Spearman's correlation has it."""
    known = ~cells.isnan()
    _, inverse, counts = cells[known].unique(return_inverse=True, return_counts=True)
    middle = counts.cumsum(0) - (counts - 1) / 2
    found = torch.full((len(cells),), float(middle[inverse].mean()) if len(inverse) else 0.0, dtype=torch.float64)
    found[known] = middle[inverse].double()
    return found


def _joined(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return what pairs connect, each group in order."""
    groups: list[set[int]] = []
    for pair in pairs:
        touched = [group for group in groups if group & {*pair}]
        groups = [group for group in groups if group not in touched] + [set(pair).union(*touched)]
    return sorted(map(sorted, groups))
