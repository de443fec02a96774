"""The number of steps that trainer.max_minutes allows: the first ones are timed on a copy, of which nothing is kept."""

from __future__ import annotations

import math

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.job import Job
from nnrun.base.errors import ConfigError
from nnrun.base.invocation import seconds_since_begin
from nnrun.base.meter import meter
from nnrun.base.shown import counted
from nnrun.config.schema import TrainerSettings
from nnrun.tasks.on_a_copy import random_state_kept
from nnrun.tasks.session import Session, with_chosen
from nnrun.tasks.train.first_steps import measured
from nnrun.tasks.train.speed import Speed

_MINUTE = 60.0
# What is kept free of the budget besides the end of the run: steps may become slower than the first ones were.
_MARGIN = 0.03


def with_steps(job: Job, data: Opened, session: Session) -> Job:
    """Return the job with the number of steps that fit into trainer.max_minutes, and say it.

    A trainer.epochs of the user's stays the limit; the default is raised where more fit. Nothing that the training
    depends on is changed. Raises ConfigError where not a single step fits.
    """
    trainer = job.settings.trainer
    assert trainer.max_minutes is not None
    budget = trainer.max_minutes * _MINUTE
    with random_state_kept(), meter("timing the first steps", unit="steps", ticks=True):
        speed, steps_per_epoch = measured(job, data, session, budget)
    spent = seconds_since_begin()
    steps = steps_within(budget * (1 - _MARGIN) - spent, speed, steps_per_epoch, trainer)
    given = f"trainer.max_minutes={trainer.max_minutes:g}"
    if steps < 1:
        least = (spent + _needed(speed)) / (1 - _MARGIN)
        raise ConfigError(
            f"{given} is not enough for one step: {spent:.1f} s have passed, a step takes {_short(speed.step)}, "
            f"and the start and the end of the training, with its evaluation and exports, about "
            f"{_needed(speed) - speed.step:.1f} s; give {math.ceil(least / _MINUTE * 100) / 100:g} or more"
        )
    fits = f"{counted(steps, 'step')} ({steps / steps_per_epoch:.1f} epochs) at {_short(speed.step)} a step"
    epochs, whole = trainer.epochs, trainer.epochs * steps_per_epoch
    if steps >= whole and not job.composed.is_default("trainer.epochs"):
        session.console.note(f"{given} would allow {fits}: trainer.epochs={epochs} is the limit")
        return with_chosen(job, session, job.composed.with_trainer(max_minutes=None))
    became, more = {"max_minutes": None, "max_steps": steps}, ""
    if steps > whole:
        became["epochs"] = math.ceil(steps / steps_per_epoch)
        more = f" trainer.epochs={became['epochs']}"
    session.console.note(f"{given} allows {fits}: trainer.max_steps={steps}{more}")
    return with_chosen(job, session, job.composed.with_trainer(**became))


def steps_within(seconds: float, speed: Speed, steps_per_epoch: int, trainer: TrainerSettings) -> int:
    """Return the number of steps that fit into the seconds left, with the validations and checkpoints among them."""
    a_step = speed.step
    if trainer.validate_every_steps is not None:
        a_step += speed.closing / trainer.validate_every_steps
    if trainer.checkpoint_every_steps is not None:
        a_step += speed.saving / trainer.checkpoint_every_steps
    left = max(0.0, seconds - _needed(speed) + speed.step)
    epochs, rest = divmod(left, a_step * steps_per_epoch + speed.closing)
    return int(epochs) * steps_per_epoch + min(steps_per_epoch, math.floor(rest / a_step))


def _needed(speed: Speed) -> float:
    """Return the seconds that a training of one step takes from now on."""
    return speed.start + speed.step + speed.last + speed.end


def _short(seconds: float) -> str:
    """Return a time in words, in milliseconds below a second."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
