"""Labels in arrays, perhaps millions: only the distinct ones are examined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.targets import Targets

if TYPE_CHECKING:
    import numpy as np

Labels = Mapping[str, Sequence[Any]]
# Samples processed at a time, to keep temporaries small.
CHUNK_SAMPLES = 2**16
# Whole numbers below this are looked up in a table.
_MOST_IN_TABLE = 2**20
# Up to this, float64 and int64 both represent every whole number.
_LARGEST = 2**53


def classes_in(
    labels: Mapping[str, np.ndarray], classes: Callable[[Labels], tuple[Targets, dict[str, Tensor]]]
) -> tuple[Targets, dict[str, Tensor]]:
    """Return what `classes` returns for the labels of each split `(N,)`: the classes, and each label's number, `(N,)`.

    It is called with the distinct labels; where it refuses one, with all, so that its error names the sample.
    """
    distinct = {part: found for part, array in labels.items() if (found := _distinct(array)) is not None}
    if len(distinct) == len(labels):
        try:
            targets, numbers = classes(distinct)
        except DataError:
            pass
        else:
            return targets, {part: _looked_up(array, distinct[part], numbers[part]) for part, array in labels.items()}
    return classes({part: array.tolist() for part, array in labels.items()})


def _distinct(labels: np.ndarray) -> list[Any] | None:
    """Return the distinct labels of an array as plain values; None where some are invalid."""
    kind = labels.dtype.kind
    if kind not in "biufUS":
        return None
    found: set[Any] = set()
    for part in parts_of(labels):
        if kind in "US":
            found.update(part.tolist())
        elif (whole := _whole(part)) is None:
            return None
        else:
            found.update(whole.unique().tolist() if int(whole.max()) >= _MOST_IN_TABLE else _present(whole))
    return list(found)


def _whole(labels: np.ndarray) -> Tensor | None:
    """Return numbers as int64; None where some are negative, not whole, or too large."""
    import numpy as np  # noqa: PLC0415 - a run on other data does not pay for it

    values = labels.astype(np.float64) if labels.dtype.kind == "f" else labels
    if labels.dtype.kind != "b" and not bool(((values >= 0) & (values <= _LARGEST)).all()):
        return None
    whole = values.astype(np.int64)
    return torch.from_numpy(whole) if bool((whole == labels).all()) else None


def _present(numbers: Tensor) -> list[int]:
    """Return the distinct numbers, all from 0 up."""
    return torch.bincount(numbers).nonzero()[:, 0].tolist()


def _looked_up(labels: np.ndarray, distinct: Sequence[Any], numbers: Tensor) -> Tensor:
    """Return the number of each label, int64 `(N,)`."""
    look_up = _of_texts if labels.dtype.kind in "US" else _of_numbers
    found = torch.empty(len(labels), dtype=torch.int64)
    by_label = look_up(distinct, numbers)
    for part, place in zip(parts_of(labels), found.split(CHUNK_SAMPLES), strict=True):
        place.copy_(by_label(part))
    return found


def _of_texts(distinct: Sequence[Any], numbers: Tensor) -> Callable[[np.ndarray], Tensor]:
    """Return a function that looks up strings."""
    places = dict(zip(distinct, numbers.tolist(), strict=True))
    return lambda part: torch.tensor(list(map(places.__getitem__, part.tolist())), dtype=torch.int64)


def _of_numbers(distinct: Sequence[Any], numbers: Tensor) -> Callable[[np.ndarray], Tensor]:
    """Return a function that looks up whole numbers: in a table if they are small, else by binary search."""
    labels = torch.tensor(distinct, dtype=torch.int64)
    if int(labels.max()) < _MOST_IN_TABLE:
        table = torch.zeros(int(labels.max()) + 1, dtype=torch.int64)
        table[labels] = numbers
        return lambda part: table[_known_whole(part)]
    ordered, places = labels.sort()
    return lambda part: numbers[places[torch.searchsorted(ordered, _known_whole(part))]]


def _known_whole(labels: np.ndarray) -> Tensor:
    """Return numbers as int64; they are known to be whole."""
    whole = _whole(labels)
    assert whole is not None, "the distinct ones were whole"
    return whole


def parts_of(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an array in chunks of CHUNK_SAMPLES; the last may be shorter."""
    for start in range(0, len(array), CHUNK_SAMPLES):
        yield array[start : start + CHUNK_SAMPLES]
