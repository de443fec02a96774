"""Binary cross-entropy of each label, for multi-label classification."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnrun.base.errors import ConfigError, DataError
from nnrun.components.losses.class_weights import ClassWeights, OnDevice


class BinaryCrossEntropy(nn.Module):
    """Return the binary cross-entropy of each sample, the mean over its labels, in fp32; the caller averages.

    `pos_weight` is the weight of positive samples: a list with one per label, `balanced`, or None. With
    `label_smoothing` s, the targets are s/2 and 1 - s/2 instead of 0 and 1.
    """

    def __init__(
        self,
        pos_weight: ClassWeights = None,
        label_smoothing: float = 0.0,
        label_counts: Sequence[int] | None = None,
        num_samples: int | None = None,
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self._pos_weight = OnDevice(positive_weights(pos_weight, label_counts, num_samples))

    @property
    def pos_weight(self) -> Tensor | None:
        """The positive weight of each label, `(K,)`; None if all are 1."""
        return self._pos_weight.value

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Take scores `(N, K)` and targets `(N, K)` of 0 and 1; return losses `(N,)`."""
        if self.label_smoothing:
            targets = torch.lerp(targets, torch.full_like(targets, 0.5), self.label_smoothing)
        # With bf16 scores, losses would have only three digits.
        losses = functional.binary_cross_entropy_with_logits(
            logits.float(), targets, pos_weight=self._pos_weight.to(logits.device), reduction="none"
        )
        return losses.mean(1)

    def extra_repr(self) -> str:
        return f"pos_weight={self.pos_weight}, label_smoothing={self.label_smoothing}"


def positive_weights(
    weights: ClassWeights, label_counts: Sequence[int] | None, num_samples: int | None
) -> Tensor | None:
    """Return the positive weight of each label, `(K,)`, or None if all are 1.

    `label_counts` are the numbers of training samples with each label, out of `num_samples`. `balanced` gives each
    label the ratio of samples without it to samples with it. Raises ConfigError if a list does not have one weight per
    label, DataError if a label has all samples or none.
    """
    if weights is None:
        return None
    if not isinstance(weights, str):
        if label_counts is not None and len(weights) != len(label_counts):
            raise ConfigError.of(
                "loss.pos_weight", list(weights), f"one weight for each of the {len(label_counts)} labels"
            )
        return torch.tensor(weights, dtype=torch.float32)
    if label_counts is None or num_samples is None:
        raise ConfigError(f"loss.pos_weight={weights} needs loss.label_counts and loss.num_samples")
    for index, count in enumerate(label_counts):
        if count in (0, num_samples):
            has = "no sample" if count == 0 else "every sample"
            raise DataError(
                f"loss.pos_weight={weights}: {has} in the training split has label {index} (counted from 0); "
                "set a list of weights"
            )
    counts = torch.tensor(label_counts, dtype=torch.float64)
    return ((num_samples - counts) / counts).float()
