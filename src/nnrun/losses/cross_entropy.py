"""Cross-entropy of class scores."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class CrossEntropy(nn.Module):
    """Return the cross-entropy of each sample, in fp32; the caller weighs and averages.

    With `label_smoothing` s the target is 1 - s for the true class plus s spread over all classes
    (Szegedy et al. 2016, arXiv 1512.00567).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Take scores `(N, C)` and class numbers `(N,)`; return losses `(N,)`."""
        # Scores in bf16 would give losses of three digits.
        return functional.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=self.label_smoothing)

    def extra_repr(self) -> str:
        return f"label_smoothing={self.label_smoothing}"
