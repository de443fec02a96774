"""What a budget of minutes is laid out for, on a clock of the test's own: it is used, and it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest

from nnrun.config.schema import TrainerSettings
from nnrun.tasks.train.budget import steps_within
from nnrun.tasks.train.speed import Closing, Speed, closing_seconds, slowness, upper_mean

BUDGET = 60.0
PLAIN = cast(TrainerSettings, SimpleNamespace(validate_every_steps=None, checkpoint_every_steps=None))


@dataclass
class Machine:
    """A training as it goes: a checkpoint is copied, and written while the next steps are taken."""

    step: float
    validation: float
    copy: float
    write: float
    steps_per_epoch: int
    now: float = 0.0
    written: float = 0.0

    def take(self) -> None:
        self.now += self.step

    def wait(self) -> None:
        self.now = max(self.now, self.written)

    def close(self) -> None:
        self.now += self.validation
        self.wait()
        self.now += self.copy
        self.written = self.now + self.write

    def train(self, num_steps: int) -> float:
        self.now = self.written = 0.0
        for number in range(1, num_steps + 1):
            self.take()
            if number % self.steps_per_epoch == 0 or number == num_steps:
                self.close()
        self.wait()
        return self.now

    def speed(self) -> Speed:
        closing = Closing(self.close, self.take, lambda: self.now < self.written, self.wait)
        last, other = closing_seconds(closing, self.step, self.steps_per_epoch, 0.02 * BUDGET, lambda: self.now)
        return Speed(self.step, other, other - self.validation, last, start=1.0, end=2.0)


@pytest.mark.parametrize(
    ("machine", "least"),
    [
        (Machine(step=0.01, validation=0.02, copy=0.01, write=0.1, steps_per_epoch=40), 0.98),
        (Machine(step=0.001, validation=0.02, copy=0.01, write=0.5, steps_per_epoch=200), 0.98),
        (Machine(step=0.2, validation=0.3, copy=0.1, write=0.5, steps_per_epoch=10), 0.98),
        # The disk is slower than an epoch, which then waits for it.
        (Machine(step=0.01, validation=0.05, copy=0.02, write=0.9, steps_per_epoch=20), 0.95),
        # Too long to be timed twice.
        (Machine(step=0.5, validation=3.0, copy=0.1, write=4.0, steps_per_epoch=20), 0.75),
    ],
)
def test_a_budget_is_used_and_kept(machine: Machine, least: float) -> None:
    """Negative control: with a write counted in full, the second machine would use two thirds of it."""
    speed = machine.speed()
    steps = steps_within(BUDGET, speed, machine.steps_per_epoch, PLAIN)
    assert least * BUDGET < speed.start + machine.train(steps) + speed.end <= BUDGET
    if machine.write == 0.5 and machine.step == 0.001:
        in_full = Speed(speed.step, speed.last, speed.saving, speed.last, speed.start, speed.end)
        assert machine.train(steps_within(BUDGET, in_full, machine.steps_per_epoch, PLAIN)) < 0.67 * BUDGET


@pytest.mark.parametrize(("seconds", "times"), [(0.022, 1.0), (0.044, 1.0), (0.22, 5.0)])
def test_a_slow_or_busy_machine_is_noticed(seconds: float, times: float) -> None:
    assert slowness(iter((7.0, 7.0 + seconds)).__next__) == pytest.approx(times)


def test_the_less_even_steps_are_the_slower_one_is_taken_to_be() -> None:
    assert upper_mean([2]) == upper_mean([2, 2, 2]) == 2
    assert upper_mean([1, 3, 1, 3]) == pytest.approx(2 + (4 / 3) ** 0.5 / 2)
