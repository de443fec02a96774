"""Cross-entropy of class scores."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from nnrun.components.losses.class_weights import ClassWeights, OnDevice, class_weights


class CrossEntropy(nn.Module):
    """Return the cross-entropy of each sample, in fp32; the caller weighs and averages.

    With `label_smoothing` s the target is 1 - s for the true class plus s spread over all classes
    (Szegedy et al. 2016, arXiv 1512.00567). `weight` is a factor for each class: a list, `balanced`, or None. A run's
    loss is the mean over samples, the sum divided by their number and not by the sum of their weights: weights twice
    as large make a loss twice as large.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        weight: ClassWeights = None,
        class_counts: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self._weight = OnDevice(class_weights(weight, class_counts, "loss.weight"))

    @property
    def weight(self) -> Tensor | None:
        """The factor of each class, `(C,)`; None where all are alike."""
        return self._weight.value

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Take scores `(N, C)` and class numbers `(N,)`; return losses `(N,)`."""
        # Scores in bf16 would give losses of three digits.
        return functional.cross_entropy(
            logits.float(),
            targets,
            weight=self._weight.to(logits.device),
            reduction="none",
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        return f"weight={self.weight}, label_smoothing={self.label_smoothing}"
