"""Statistics of a data set's targets: samples of each class or label, distributions of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nnrun.base.targets import Targets
from nnrun.core.seams.data import Split
from nnrun.core.target_values import target_counts

NUM_BARS = 16
_BARS = "▁▂▃▄▅▆▇█"
# Maximum number of pairs of labels kept.
_MOST_PAIRS = 10


def counts_of(split: Split, targets: Targets) -> dict[str, int]:
    """Return the number of samples of each class or label; nothing for values."""
    counts = target_counts(split.targets, targets)
    return dict(zip(targets.names, counts, strict=True)) if counts else {}


def spread_of(parts: Mapping[str, Split], targets: Targets) -> dict[str, dict[str, dict[str, Any]]]:
    """Return minimum, mean, standard deviation, maximum and histogram by split and value; nothing for other targets.

    A value's histograms have the same `NUM_BARS` bins in all splits, from its minimum to its maximum over all splits.
    """
    there = {name: split.targets.double() for name, split in parts.items() if len(split)}
    if targets.kind != "values" or not there:
        return {}
    ends = torch.cat([torch.stack(torch.aminmax(values, dim=0)) for values in there.values()])
    lows, highs = ends.amin(0), ends.amax(0)
    return {
        part: {
            name: _spread(column, low, high)
            for name, column, low, high in zip(targets.names, values.t(), lows.tolist(), highs.tolist(), strict=True)
        }
        for part, values in there.items()
    }


def _spread(values: Tensor, low: float, high: float) -> dict[str, Any]:
    """Return the statistics of some values, with a histogram from `low` to `high`."""
    # The histogram of a constant has bins below and above it.
    bars = torch.histc(values, NUM_BARS, low, high) if low < high else torch.histc(values, NUM_BARS, low - 1, low + 1)
    return {
        "min": values.min().item(),
        "mean": values.mean().item(),
        "std": values.std(correction=0).item(),
        "max": values.max().item(),
        "histogram": bars.long().tolist(),
    }


def bars(histogram: Sequence[int]) -> str:
    """Return a histogram as a line of text; every bin that is not empty has a bar."""
    most = max(*histogram, 1)
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] if count else " " for count in histogram)


def together_of(split: Split, targets: Targets) -> dict[str, Any]:
    """Return how many labels samples have, and the most frequent pairs of labels; nothing for other targets."""
    if targets.kind != "labels" or not len(split):
        return {}
    each = split.targets.sum(1)
    pairs = split.targets.double().t() @ split.targets.double()
    numbers, places = pairs.triu(1).flatten().sort(descending=True, stable=True)
    names = targets.names
    found = zip(places[:_MOST_PAIRS].tolist(), numbers[:_MOST_PAIRS].long().tolist(), strict=True)
    return {
        "none": int((each == 0).sum()),
        "mean": each.mean().item(),
        "most": int(each.max()),
        "pairs": [[names[place // len(names)], names[place % len(names)], number] for place, number in found if number],
    }
