"""Linear warmup, then cosine decay."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nnrun.base.errors import ConfigError


class WarmupCosine(LRScheduler):
    """Raise each group's learning rate linearly to its full value, then lower it to `min_lr` along half a cosine.

    A function of the step number alone. `total_steps` is the run's length, `warmup_fraction` the fraction of it in
    which the rate rises. After `total_steps` it stays at `min_lr`, times the group's `lr_factor` if it has one.
    Goyal et al. 2017, arXiv 1706.02677; Loshchilov & Hutter 2017, arXiv 1608.03983. Raises ConfigError if `min_lr`
    is above a group's learning rate.
    """

    interval: ClassVar[Literal["step"]] = "step"

    def __init__(
        self, optimizer: Optimizer, total_steps: int, warmup_fraction: float = 0.0, min_lr: float = 0.0
    ) -> None:
        for group in optimizer.param_groups:
            # A float: the group's own may be a tensor on the device, and reading it at every step would wait for it.
            base_lr = group.setdefault("initial_lr", float(group["lr"])) / group.get("lr_factor", 1.0)
            if min_lr > base_lr:
                raise ConfigError.of(
                    "scheduler.min_lr", min_lr, f"a number up to {base_lr:g}, the optimizer's learning rate"
                )
        self.total_steps = total_steps
        self.warmup_steps = round(warmup_fraction * total_steps)
        self.min_lr = min_lr
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rate of each group for the update after `last_epoch` updates."""
        step, warmup, total = self.last_epoch, self.warmup_steps, self.total_steps
        lowest = [self.min_lr * group.get("lr_factor", 1.0) for group in self.optimizer.param_groups]
        pairs = zip(self.base_lrs, lowest, strict=True)
        return [warmup_cosine(step, warmup, total, float(base_lr), min_lr) for base_lr, min_lr in pairs]


def warmup_cosine(step: int, warmup_steps: int, total_steps: int, base_lr: float, min_lr: float) -> float:
    """Return the learning rate of update `step`, counted from 0."""
    if step < warmup_steps:
        # The first update has 1 / warmup_steps of the rate: an update at 0 would waste a batch.
        return base_lr * (step + 1) / warmup_steps
    if step >= total_steps:
        return min_lr
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return min_lr + (base_lr - min_lr) * (1 + math.cos(math.pi * progress)) / 2
