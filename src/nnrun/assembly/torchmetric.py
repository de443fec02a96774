"""Adapt a metric of torchmetrics. This module does not import the library; building the metric's class does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nnrun.base.errors import ConfigError
from nnrun.base.targets import Targets
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.problem import Sums


class TorchMetric:
    """Measure with a metric of torchmetrics, given predictions `(N, K)`, for a single value `(N,)`, and targets.

    The state stays in the metric itself, since some keep every sample; across processes torchmetrics gathers it.
    Samples that pad a batch are not passed on.
    """

    def __init__(self, metric: Any, name: str, targets: Targets) -> None:
        self._metric, self._name, self._targets = metric, name, targets
        parts = metric.items() if hasattr(metric, "items") else [("value", metric)]
        ways = {key: getattr(part, "higher_is_better", None) for key, part in parts}
        self.higher_is_better: Mapping[str, bool] = {key: way for key, way in ways.items() if way is not None}

    def init(self, device: torch.device) -> Sums:
        """Reset the metric; return no sums, since it keeps its own state."""
        self._metric.to(device)
        self._metric.reset()
        return {}

    @torch.no_grad()
    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Update the metric with a batch; most metrics validate their inputs, which waits for the device."""
        if batch.num_samples == 0:
            return  # a rank's slice may be padding alone
        predictions, targets = outputs[: batch.num_samples], batch.targets[: batch.num_samples]
        if self._targets.kind == "labels":
            targets = targets.long()
        if targets.shape[1:] == (1,):
            predictions, targets = predictions[:, 0], targets[:, 0]
        self._metric.update(predictions, targets)

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return the metric as `value`, or each metric of a collection by name. Waits for the device."""
        found = self._metric.compute()
        values = found if isinstance(found, Mapping) else {"value": found}
        for value in values.values():
            if (number := torch.as_tensor(value).numel()) != 1:
                raise ConfigError(
                    f"metric.{self._name} returns {number} numbers; allowed: one, such as their mean; for classes and "
                    "labels set average: macro, for values num_outputs: 1 or multioutput: uniform_average"
                )
        return {key: float(value) for key, value in values.items()}
