"""One cycle of the learning rate."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from nnrun.base.errors import ConfigError


class OneCycle(OneCycleLR):
    """Raise the learning rate to `max_lr`, then lower it to nearly 0 (Smith & Topin 2018, arXiv 1708.07120).

    torch's OneCycleLR with two differences: `max_lr` is that of the first group, before its `lr_factor` if it has one,
    and the other groups keep their ratio to it; and after `total_steps` the learning rate stays constant. Raises
    ConfigError if `cycle_momentum` is set for an optimizer without momentum.
    """

    interval: ClassVar[Literal["step"]] = "step"

    def __init__(  # noqa: PLR0913 - each is a setting in the YAML
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int,
        *,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = False,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        if cycle_momentum and not {"momentum", "betas"} & optimizer.defaults.keys():
            raise ConfigError(
                f"scheduler.cycle_momentum is true, but {type(optimizer).__name__} has no momentum to cycle; "
                "set scheduler.cycle_momentum=false"
            )
        # trainer.epochs=0 gives a run of 0 steps, which torch rejects.
        total_steps = max(1, total_steps)
        # torch divides by zero if the rise is exactly one step long; slightly less gives that step max_lr.
        if pct_start * total_steps == 1:
            pct_start *= 1 - 1e-9
        first = optimizer.param_groups[0]
        first_lr = float(first["lr"]) / first.get("lr_factor", 1.0)
        super().__init__(
            optimizer,
            max_lr=[max_lr * (float(group["lr"]) / first_lr) for group in optimizer.param_groups],
            total_steps=total_steps,
            pct_start=float(pct_start),
            anneal_strategy=anneal_strategy,
            cycle_momentum=cycle_momentum,
            base_momentum=base_momentum,
            max_momentum=max_momentum,
            div_factor=div_factor,
            final_div_factor=final_div_factor,
            three_phase=three_phase,
        )

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rate of each group for the update after `last_epoch` updates; also set the momentum."""
        step = self.last_epoch
        self.last_epoch = min(step, self.total_steps - 1)
        try:
            return super().get_lr()
        finally:
            self.last_epoch = step
