"""Class weights: as written in a config, and as used by the losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from nnrun.base.errors import ConfigError, DataError

# null: 1; a list: one weight per class; balanced: N / (C * samples of the class), counted in the training split.
ClassWeights = Sequence[float] | Literal["balanced"] | None


def class_weights(weights: ClassWeights, class_counts: Sequence[int] | None, key: str) -> Tensor | None:
    """Return the weight of each class, `(C,)`, or None if all are 1.

    `class_counts` are the numbers of training samples of each class; `key` is the setting with the weights.
    `balanced` gives class c the weight N / (C * n_c), as scikit-learn does: the mean over the training samples is 1.
    Raises ConfigError if a list does not have one weight per class, DataError if a class has no samples.
    """
    if weights is None:
        return None
    if isinstance(weights, str):
        if class_counts is None:
            raise ConfigError(f"{key}={weights} needs loss.class_counts, the number of samples of each class")
        if 0 in class_counts:
            empty = class_counts.index(0)
            raise DataError(
                f"{key}={weights}: class {empty} (counted from 0) has no training samples; set a list of weights"
            )
        counts = torch.tensor(class_counts, dtype=torch.float64)
        return (counts.sum() / (len(counts) * counts)).float()
    if class_counts is not None and len(weights) != len(class_counts):
        raise ConfigError.of(key, list(weights), f"one weight for each of the {len(class_counts)} classes")
    return torch.tensor(weights, dtype=torch.float32)


class OnDevice:
    """A constant that is moved to a device on first use there, and stays."""

    def __init__(self, value: Tensor | None) -> None:
        self.value = value

    def to(self, device: torch.device) -> Tensor | None:
        """Return the constant on a device. Waits for the device once."""
        if self.value is not None and self.value.device != device:
            # The first use may be a validation; training steps cannot use tensors made in inference mode.
            with torch.inference_mode(False):
                self.value = self.value.to(device)
        return self.value
