"""Mean absolute error: less sensitive to outliers than the squared error."""

from __future__ import annotations

from torch import Tensor, nn


class AbsoluteError(nn.Module):
    """Return the absolute error of each sample, the mean over its targets, in fp32; the caller averages."""

    def __init__(self) -> None:
        super().__init__()  # takes no parameters, unlike nn.Module's, which takes any

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Take standardized outputs and targets, `(N, K)`; return losses `(N,)`."""
        return (outputs.float() - targets).abs().mean(1)
