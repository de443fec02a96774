"""Huber loss: the squared error of small errors, and the absolute one of large ones."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Huber(nn.Module):
    """Return the Huber loss of each sample (Huber 1964), the mean over its targets, in fp32; the caller averages.

    Of an error e it is e**2 / 2 up to `delta`, in deviations of the target, and delta * (|e| - delta / 2) beyond.
    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Take outputs and targets, standardised, `(N, K)`; return losses `(N,)`."""
        return functional.huber_loss(outputs.float(), targets, reduction="none", delta=self.delta).mean(1)

    def extra_repr(self) -> str:
        return f"delta={self.delta}"
