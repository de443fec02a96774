"""When a learning rate schedule is stepped, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from nnrun.base.errors import Complaint, ConfigError
from nnrun.base.foreign_errors import calling
from nnrun.core.seams.training import Scheduler


class Schedule:
    """Step a scheduler after each update or after each epoch, as its `interval` says; without one, after each epoch.

    One that `takes_metric`, as ReduceLROnPlateau does, is stepped after each validation, with the value of `monitor`.
    """

    def __init__(self, scheduler: Scheduler | LRScheduler, monitor: str) -> None:
        self.scheduler: Any = scheduler
        self._monitor = monitor
        self._by_step = getattr(scheduler, "interval", "epoch") == "step"
        takes_metric = getattr(scheduler, "takes_metric", isinstance(scheduler, ReduceLROnPlateau))
        self._takes_metric = takes_metric and not self._by_step

    def after_update(self) -> None:
        """Set the learning rate for the next update."""
        if self._by_step:
            with calling("scheduler"):
                self.scheduler.step()

    def after_validation(self, metrics: Mapping[str, float]) -> None:
        """Set the learning rate from the metrics of a validation, by full name; without metrics, do nothing."""
        if not self._takes_metric or not metrics:
            return
        if self._monitor not in metrics:
            raise ConfigError.of("early_stopping.monitor", self._monitor, ", ".join(sorted(metrics)))
        with calling("scheduler"):
            self.scheduler.step(metrics[self._monitor])

    def after_epoch(self) -> None:
        """Set the learning rate for the next epoch."""
        if not self._by_step and not self._takes_metric:
            with calling("scheduler"):
                self.scheduler.step()

    def check(self, *, is_validated: bool) -> None:
        """Raise ConfigError if the schedule needs validations and there are none."""
        if self._takes_metric and not is_validated:
            why = f"the schedule takes {self._monitor}, but there is no validation"
            raise ConfigError(Complaint("scheduler", f"{why}: choose another, or raise data.val_fraction"))

    def state_dict(self) -> dict[str, Any]:
        """Return the scheduler's state."""
        state: dict[str, Any] = self.scheduler.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the scheduler's state."""
        self.scheduler.load_state_dict(state)
