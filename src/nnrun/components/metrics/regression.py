"""Regression metrics, in the data's own units, from standardized outputs and targets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from nnrun.components.metrics.standardisation import Standardisation
from nnrun.components.metrics.sums import add_rows, add_sums, add_weight, zero
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.problem import Sums

# The relative rounding error of a sum of squares in float64: a deviation below it counts as 0.
_ROUNDING = 1e-13


class RunningErrors:
    """Mean loss, and mean absolute error over all targets, cheap enough for every training step.

    Mixed samples count with their own targets only.
    """

    higher_is_better: Mapping[str, bool] = {"loss": False, "mae": False}

    def __init__(self, standardisation: Standardisation) -> None:
        self._standardisation = standardisation

    def init(self, device: torch.device) -> Sums:
        """Return empty sums."""
        num_values = self._standardisation.num_values
        return {"loss": zero(device), "weight": zero(device), "absolute": zero(device, num_values)}

    @torch.no_grad()
    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Add a batch to the sums, in place, without waiting for the device."""
        add_sums([sums["loss"]], [losses], batch)
        add_weight(sums["weight"], batch)
        add_rows(sums["absolute"], (outputs - self._standardisation(batch.targets)).abs(), batch)

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return loss and mean absolute error; NaN without samples. Waits for the device."""
        loss, absolute = sums["loss"] / sums["weight"], (sums["absolute"] / sums["weight"]).cpu().double()
        return {"loss": float(loss), "mae": float((absolute * self._standardisation.deviation).mean())}


class RegressionMetrics:
    """Mean loss, mean squared error, mean absolute error, and R2, each the mean over targets.

    Sums are over standardized values (mean and standard deviation of the training split), so that large values with
    small differences lose no precision; the errors are in the data's units. R2 is as in scikit-learn: for a target that
    is constant in the measured samples it is 1 if every prediction is exact and otherwise 0; for fewer than two
    samples it is NaN.
    """

    higher_is_better: Mapping[str, bool] = {
        "loss": False,
        "mse": False,
        "mae": False,
        "r2": True,
    }

    def __init__(self, standardisation: Standardisation) -> None:
        self._standardisation = standardisation

    def init(self, device: torch.device) -> Sums:
        """Return empty sums; those over values are `(K,)`."""
        num_values = self._standardisation.num_values
        of_values = ("absolute", "squared", "targets", "squared_targets")
        return {"loss": zero(device), "weight": zero(device)} | {name: zero(device, num_values) for name in of_values}

    @torch.no_grad()
    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Add a batch to the sums, in place, without waiting for the device."""
        add_sums([sums["loss"]], [losses], batch)
        add_weight(sums["weight"], batch)
        kind = sums["squared"].dtype
        targets = self._standardisation(batch.targets).to(kind)
        errors = outputs.to(kind) - targets
        add_rows(sums["absolute"], errors.abs(), batch)
        add_rows(sums["squared"], errors.square(), batch)
        add_rows(sums["targets"], targets, batch)
        add_rows(sums["squared_targets"], targets.square(), batch)

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return the metrics by name; NaN without samples. Waits for the device."""
        scores = self.score_targets(sums)
        means = {name: float(getattr(scores, name).mean()) for name in ("mse", "mae", "r2")}
        return {"loss": float(sums["loss"] / sums["weight"])} | means

    def score_targets(self, sums: Sums) -> TargetScores:
        """Return the scores of each target. Waits for the device."""
        host = {name: total.cpu().double() for name, total in sums.items()}  # waits for the device
        number, deviation = host["weight"], self._standardisation.deviation
        return TargetScores(
            mse=host["squared"] / number * deviation.square(),
            mae=host["absolute"] / number * deviation,
            r2=r2(host["squared"], host["targets"], host["squared_targets"], float(number)),
        )


class TargetScores(NamedTuple):
    """Mean squared error, mean absolute error and R2 of each target, float64 `(K,)`."""

    mse: Tensor
    mae: Tensor
    r2: Tensor


def r2(squared_errors: Tensor, totals: Tensor, squared_totals: Tensor, number: float) -> Tensor:
    """Return R2 of each target, `(K,)`, from sums over samples of squared errors, targets and squared targets."""
    if number < 2:
        return torch.full_like(totals, math.nan)
    spread = squared_totals - totals.square() / number
    is_constant = spread <= _ROUNDING * squared_totals
    constant = torch.where(squared_errors == 0, 1.0, 0.0).masked_fill(squared_errors.isnan(), math.nan)
    return torch.where(is_constant, constant, 1 - squared_errors / spread.masked_fill(is_constant, 1))
