"""A factor for each class: as a config writes it, and as the losses use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from nnrun.base.errors import ConfigError, DataError

# null: all alike; a list: one factor a class; balanced: from how often each class occurs in the training part.
ClassWeights = Sequence[float] | Literal["balanced"] | None


def class_weights(weights: ClassWeights, class_counts: Sequence[int] | None, key: str) -> Tensor | None:
    """Return the factor of each class, `(C,)`, or None where all are alike.

    `class_counts` are the samples of each class in the training part, `key` is the setting that asks for the weights.
    `balanced` gives class c the factor N / (C * n_c), as scikit-learn does: over the training part they average to 1.
    Raises ConfigError where a list does not have a factor for each class, DataError where a class has no sample.
    """
    if weights is None:
        return None
    if isinstance(weights, str):
        if class_counts is None:
            raise ConfigError(f"{key}={weights} needs loss.class_counts: how many samples each class has")
        if 0 in class_counts:
            empty = class_counts.index(0)
            raise DataError(
                f"{key}={weights}: class number {empty} has no sample in the training part; give a list of weights"
            )
        counts = torch.tensor(class_counts, dtype=torch.float64)
        return (counts.sum() / (len(counts) * counts)).float()
    if class_counts is not None and len(weights) != len(class_counts):
        raise ConfigError.of(key, list(weights), f"a weight for each of the {len(class_counts)} classes")
    return torch.tensor(weights, dtype=torch.float32)


class OnDevice:
    """A constant that is brought to a device when it is first needed there, and stays."""

    def __init__(self, value: Tensor | None) -> None:
        self.value = value

    def to(self, device: torch.device) -> Tensor | None:
        """Return the constant on a device. Waits for the device once."""
        if self.value is not None and self.value.device != device:
            # A run may begin with a validation, and go on with steps, whose gradients need what is kept here.
            with torch.inference_mode(False):
                self.value = self.value.to(device)
        return self.value
