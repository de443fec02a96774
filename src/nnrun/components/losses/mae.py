"""Absolute error of values: outliers count less than in their square."""

from __future__ import annotations

from torch import Tensor, nn


class AbsoluteError(nn.Module):
    """Return the absolute error of each sample, the mean over its targets, in fp32; the caller averages."""

    def __init__(self) -> None:
        super().__init__()  # with no parameter: nn.Module's own takes any

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Take outputs and targets, standardised, `(N, K)`; return losses `(N,)`."""
        return (outputs.float() - targets).abs().mean(1)
