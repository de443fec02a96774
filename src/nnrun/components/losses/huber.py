"""Huber loss: quadratic for small errors, linear for large ones."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Huber(nn.Module):
    """Return the Huber loss of each sample (Huber 1964), the mean over its targets, in fp32; the caller averages.

    For an error e it is e**2 / 2 up to `delta`, in standard deviations of the target, then delta * (|e| - delta / 2).
    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Take standardized outputs and targets, `(N, K)`; return losses `(N,)`."""
        return functional.huber_loss(outputs.float(), targets, reduction="none", delta=self.delta).mean(1)

    def extra_repr(self) -> str:
        return f"delta={self.delta}"
