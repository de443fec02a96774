"""Standardize targets to mean 0 and standard deviation 1 for training, and convert outputs back to the data's units."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Standardisation:
    """Subtract the mean and divide by the standard deviation of each target; both are float64 `(K,)` on the host.

    On a device the mean is the sum of two fp32 numbers, with nearly the precision of float64. So a value near the mean
    loses no precision in the difference, even on devices without float64.
    """

    def __init__(self, num_values: int) -> None:
        self.num_values = num_values
        self.set(torch.zeros(num_values, dtype=torch.float64), torch.ones(num_values, dtype=torch.float64))

    def set(self, mean: Tensor, deviation: Tensor) -> None:
        """Set means and standard deviations, in place."""
        self.mean, self.deviation = mean, deviation
        self._on_device = self.parts()

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean as two numbers (high and low part), and the deviation: fp32 `(K,)`, on the host."""
        high = self.mean.float()
        return high, (self.mean - high.double()).float(), self.deviation.float()

    def __call__(self, values: Tensor) -> Tensor:
        """Return standardized values, `(N, K)`. Waits for the device on first use there."""
        high, low, deviation = self._at(values.device)
        return (values - high - low) / deviation

    def put_back(self, outputs: Tensor) -> Tensor:
        """Return a network's outputs in the data's units, as PutBack does."""
        return PutBack(*self._at(outputs.device))(outputs)

    def _at(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return the parts on a device."""
        if self._on_device[0].device != device:
            high, low, deviation = self._on_device
            with torch.inference_mode(False):  # a validation may come before the first training step
                self._on_device = high.to(device), low.to(device), deviation.to(device)
        return self._on_device


class PutBack(nn.Module):
    """Convert outputs to the data's units, rounded to fp32: values near 1e9 are rounded to a multiple of 64."""

    def __init__(self, high: Tensor, low: Tensor, deviation: Tensor) -> None:
        super().__init__()
        # Annotated here: TorchScript reads annotations of a class, and cannot read postponed ones.
        self.high: Tensor
        self.low: Tensor
        self.deviation: Tensor
        self.register_buffer("high", high)
        self.register_buffer("low", low)
        self.register_buffer("deviation", deviation)

    def forward(self, outputs: Tensor) -> Tensor:
        """Take a network's outputs `(N, K)`; return values of the same shape."""
        return (outputs * self.deviation + self.low) + self.high
