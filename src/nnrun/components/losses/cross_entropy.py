"""Cross-entropy of class scores."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from nnrun.components.losses.class_weights import ClassWeights, OnDevice, class_weights


class CrossEntropy(nn.Module):
    """Return the cross-entropy of each sample, in fp32; the caller averages.

    With `label_smoothing` s, 1 - s goes to the target class, and s is spread evenly over all classes (Szegedy et al.
    2016, arXiv 1512.00567). `weight` are class weights: a list, `balanced`, or None. A run's loss is averaged over the
    number of samples, not over the sum of their weights: doubling the weights doubles the loss.
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
        """The weight of each class, `(C,)`; None if all are 1."""
        return self._weight.value

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Take scores `(N, C)` and class indices `(N,)`; return losses `(N,)`."""
        # With bf16 scores, losses would have only three digits.
        return functional.cross_entropy(
            logits.float(),
            targets,
            weight=self._weight.to(logits.device),
            reduction="none",
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        return f"weight={self.weight}, label_smoothing={self.label_smoothing}"
