"""When a schedule is stepped, and with what."""

from __future__ import annotations

import pytest

from nnrun.base.errors import ConfigError
from nnrun.core.schedule import Schedule


class Plain:
    """A schedule that records the argument of each step."""

    def __init__(self) -> None:
        self.given: list[tuple[float, ...]] = []

    def step(self, *given: float) -> None:
        self.given.append(given)

    def state_dict(self) -> dict[str, int]:
        return {"steps": len(self.given)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.given = [()] * state["steps"]


class ByStep(Plain):
    interval = "step"


class TakesMetric(Plain):
    takes_metric = True


@pytest.mark.parametrize(
    ("cls", "given"),
    [(Plain, [(), ()]), (ByStep, [(), (), ()]), (TakesMetric, [(0.5,), (0.25,)])],
)
def test_a_schedule_is_stepped_as_it_says_and_given_what_it_takes(cls, given):
    """Three updates in two epochs. Negative control: the three kinds differ."""
    schedule = Schedule(cls(), "valid/loss")
    for updates, loss in ((2, 0.5), (1, 0.25)):
        for _ in range(updates):
            schedule.after_update()
        schedule.after_validation({"valid/loss": loss, "valid/accuracy": 0.9})
        schedule.after_epoch()
    assert schedule.scheduler.given == given


def test_a_metric_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(
        ConfigError, match=r"early_stopping\.monitor is .?valid/f1.?; allowed: valid/accuracy, valid/loss"
    ):
        Schedule(TakesMetric(), "valid/f1").after_validation({"valid/loss": 1.0, "valid/accuracy": 0.5})
    Schedule(Plain(), "valid/f1").after_validation({"valid/loss": 1.0})  # a schedule without a metric is not stepped


@pytest.mark.parametrize("cls", [ByStep, Plain])
def test_what_a_schedule_raises_is_said_to_be_its_own(cls):
    def fails() -> None:
        raise ZeroDivisionError("no epochs")

    schedule = Schedule(cls(), "valid/loss")
    schedule.scheduler.step = fails
    with pytest.raises(ConfigError, match="scheduler fails with ZeroDivisionError: no epochs"):
        schedule.after_update()
        schedule.after_epoch()


def test_the_state_is_the_schedulers():
    schedule, other = Schedule(ByStep(), "valid/loss"), Schedule(ByStep(), "valid/loss")
    schedule.after_update()
    other.load_state_dict(schedule.state_dict())
    assert other.scheduler.given == [()]
    assert schedule.state_dict() == {"steps": 1}


def test_a_schedule_that_takes_a_metric_says_what_to_do_where_nothing_is_validated():
    with pytest.raises(ConfigError, match=r"takes valid/loss, but there is no validation: .* raise data\.val_fraction"):
        Schedule(TakesMetric(), "valid/loss").check(is_validated=False)
    Schedule(TakesMetric(), "valid/loss").check(is_validated=True)
    Schedule(Plain(), "valid/loss").check(is_validated=False)
