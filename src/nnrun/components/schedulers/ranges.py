"""Allowed values of the schedulers' parameters. Needs no torch."""

from __future__ import annotations

from nnrun.config.conflicts import Conflict
from nnrun.config.no_effect import Idle, is_one_of
from nnrun.config.ranges import FRACTION, NOT_NEGATIVE, POSITIVE, number, one_of, several, whole

RANGES = {
    "scheduler.step_size": whole(1),
    "scheduler.total_steps": whole(1, null=True),
    "scheduler.gamma": number(0, above=True),
    "scheduler.factor": number(0, 1, above=True, below=True),
    "scheduler.patience": whole(0),
    "scheduler.warmup_fraction": number(0, 1, below=True),
    "scheduler.threshold": NOT_NEGATIVE,
    "scheduler.cooldown": whole(0),
    "scheduler.eps": NOT_NEGATIVE,
    "scheduler.div_factor": number(1),
    "scheduler.final_div_factor": number(1),
    "scheduler.base_momentum": number(0, 1, below=True),
    "scheduler.max_momentum": number(0, 1, below=True),
    "scheduler.min_lr": NOT_NEGATIVE,
    "scheduler.max_lr": POSITIVE,
    "scheduler.pct_start": FRACTION,
    "scheduler.anneal_strategy": one_of("cos", "linear"),
    "scheduler.threshold_mode": one_of("rel", "abs"),
    "scheduler.milestones": several(number(0, 1, above=True, below=True)),
}

CONFLICTS = (
    Conflict(
        ("data.val_fraction", "scheduler._target_"),
        lambda fraction, target: fraction == 0 and str(target).endswith("ReduceLROnPlateau"),
        "scheduler=plateau needs validation, but data.val_fraction is 0; choose another scheduler",
    ),
)

IDLE = (
    Idle(
        ("scheduler", "scheduler.step_size"),
        ("scheduler.step_size", "trainer.epochs", "scheduler._target_"),
        lambda size, epochs, target: size is not None and is_one_of(target, "StepLR") and size >= epochs,
        "scheduler.step_size={} has no effect with trainer.epochs={}: the learning rate would change after the end; "
        "lower it, raise trainer.epochs, or use scheduler=none",
        by_length=True,
    ),
    Idle(
        ("scheduler", "scheduler.patience"),
        ("scheduler.patience", "trainer.epochs", "scheduler._target_", "trainer.validate_every_steps"),
        lambda patience, epochs, target, every: (
            every is None and patience is not None and is_one_of(target, "ReduceLROnPlateau") and patience + 2 >= epochs
        ),
        "scheduler.patience={} has no effect with trainer.epochs={}: a plateau would be found after the end; lower it, "
        "raise trainer.epochs, or use scheduler=none",
        by_length=True,
    ),
    Idle(
        ("scheduler",),
        ("scheduler.gamma", "trainer.epochs", "scheduler._target_"),
        lambda _, epochs, target: epochs == 1 and is_one_of(target, "ExponentialLR"),
        "scheduler=exponential has no effect with trainer.epochs=1: the learning rate changes after each epoch; "
        "raise trainer.epochs, or use scheduler=none",
        by_length=True,
    ),
    Idle(
        ("scheduler.gamma",),
        ("scheduler.gamma", "scheduler._target_"),
        lambda gamma, target: gamma == 1 and is_one_of(target, "StepLR", "ExponentialLR", "MultiStep"),
        "scheduler.gamma={} has no effect: the learning rate stays constant; use scheduler=none",
    ),
    Idle(
        ("scheduler.milestones",),
        ("scheduler.milestones", "scheduler._target_"),
        lambda milestones, target: milestones == [] and is_one_of(target, "MultiStep"),
        "scheduler.milestones={} has no effect: the learning rate stays constant; use scheduler=none",
    ),
    Idle(
        ("scheduler.min_lr",),
        ("scheduler.min_lr", "optimizer.lr", "scheduler._target_"),
        lambda low, rate, target: (
            isinstance(low, int | float)
            and isinstance(rate, int | float)
            and is_one_of(target, "ReduceLROnPlateau", "WarmupCosine")
            and low == rate
        ),
        "scheduler.min_lr={} equals the learning rate, which would never decrease; use scheduler=none",
    ),
    Idle(
        ("scheduler.base_momentum", "scheduler.max_momentum"),
        ("scheduler.cycle_momentum", "scheduler._target_"),
        lambda cycles, target: cycles is False and is_one_of(target, "OneCycle"),
        "scheduler.base_momentum and scheduler.max_momentum have no effect with scheduler.cycle_momentum=false",
    ),
    Idle(
        ("scheduler.max_lr",),
        ("scheduler.max_lr", "optimizer.lr", "scheduler._target_", "optimizer._target_"),
        # max_lr would override an explicit learning rate of the optimizer; muon's two rates keep their ratio.
        lambda top, rate, target, optimizer: (
            top != rate and is_one_of(target, "OneCycle") and not is_one_of(optimizer, "Muon")
        ),
        "optimizer.lr has no effect with scheduler.max_lr={}, which onecycle uses instead; remove one of them",
        together=("optimizer.lr",),
    ),
)
