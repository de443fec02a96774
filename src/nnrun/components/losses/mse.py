"""Mean squared error."""

from __future__ import annotations

from torch import Tensor, nn


class SquaredError(nn.Module):
    """Return the squared error of each sample, the mean over its targets, in fp32; the caller averages."""

    def __init__(self) -> None:
        super().__init__()  # takes no parameters, unlike nn.Module's, which takes any

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Take standardized outputs and targets, `(N, K)`; return losses `(N,)`."""
        return (outputs.float() - targets).square().mean(1)
