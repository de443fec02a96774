"""The results of a network for each sample of a split, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class SampleResults:
    """The predictions of a network for samples of the test split, in the split's order: one row per sample.

    `kind` and `names` are those of the targets. `num_samples` is the number of samples tested. If not all are kept,
    those with the largest losses are; `indices` are the positions in the split of those kept.

    - `targets`: class numbers `(N,)`; labels 0 and 1 `(N, K)`; values `(N, K)` in the data's units
    - `predictions`: probabilities `(N, K)`, float16; values `(N, K)`, float32, in the data's units
    - `columns`: with many classes, only the most probable ones of each sample are kept: their numbers, `(N, K)`;
      else None
    - `predicted`: for classes, the number of the predicted class, `(N,)`; else None
    - `predicted_labels`: for labels, whether each is predicted, `(N, K)` of 0 and 1; else None
    - `losses`: the loss of each sample, `(N,)`, float32
    - `are_right`: whether each prediction counts as right, `(N,)` of bool
    - `paths`: a readable name for each sample, such as the path of its file; None where there is none
    - `pictures`: PNG files of the costliest samples, by position in the split, if the samples are images
    - `texts`: the costliest samples, by position in the split, if they are texts or rows of a table; long ones are cut
    """

    kind: str
    names: tuple[str, ...]
    num_samples: int
    indices: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]
    predictions: np.ndarray[Any, Any]
    losses: np.ndarray[Any, Any]
    are_right: np.ndarray[Any, Any]
    columns: np.ndarray[Any, Any] | None = None
    predicted: np.ndarray[Any, Any] | None = None
    predicted_labels: np.ndarray[Any, Any] | None = None
    paths: tuple[str, ...] | None = None
    pictures: Mapping[int, bytes] = field(default_factory=dict)
    texts: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether the results of all samples are kept, not only of those with the largest losses."""
        return len(self.indices) == self.num_samples

    def costliest(self, most: int) -> list[int]:
        """Return the rows of the mistakes with the largest losses, the largest first; of all samples if none is wrong.

        Values are never simply right or wrong: of these, all samples count.
        """
        losses = self.losses.astype(float)
        losses[~(losses <= float("inf"))] = float("inf")  # NaN counts as the largest
        counts = ~self.are_right
        if self.kind == "values" or not counts.any():
            counts[:] = True
        rows = counts.nonzero()[0]
        found: list[int] = rows[(-losses[rows]).argsort(kind="stable")][:most].tolist()
        return found
