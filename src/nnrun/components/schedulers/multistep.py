"""Multiply the learning rate at given fractions of the run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class MultiStep(LRScheduler):
    """Multiply the learning rate of each group by `gamma` at each milestone.

    A function of the step number alone. Milestones are fractions of the run's length, `total_steps`, so they need not
    change with it; two milestones at the same step both count.
    """

    interval: ClassVar[Literal["step"]] = "step"

    def __init__(
        self, optimizer: Optimizer, total_steps: int, milestones: Sequence[float] = (0.5, 0.75), gamma: float = 0.1
    ) -> None:
        for group in optimizer.param_groups:
            # A float: the group's own may be a tensor on the device, and reading it at every step would wait for it.
            group.setdefault("initial_lr", float(group["lr"]))
        self.milestone_steps = sorted(round(fraction * total_steps) for fraction in milestones)
        self.gamma = gamma
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rate of each group for the update after `last_epoch` updates."""
        factor = self.gamma ** bisect_right(self.milestone_steps, self.last_epoch)
        return [base_lr * factor for base_lr in self.base_lrs]
