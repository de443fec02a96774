"""Settings that were typed and cannot act: in a run of this length, beside these other settings. Needs no torch.

A default that cannot act is no mistake, and nothing is said of it. What depends on the number of steps is known only
once the data is read: `of_steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnrun.base.errors import Complaint
from nnrun.config.tree import value_at

if TYPE_CHECKING:
    from nnrun.config.overrides import Typed
    from nnrun.config.task import Task


@dataclass(frozen=True)
class Idle:
    """A setting, or an option with such a default, without effect where `holds` is true of the values at `keys`.

    `words` are the keys of which one must be typed.
    """

    words: tuple[str, ...]
    keys: tuple[str, ...]
    holds: Callable[..., bool]
    message: str


def _ends_with(target: object, *names: str) -> bool:
    """Return whether a `_target_` is one of the classes."""
    return str(target).rpartition(".")[2] in names and str(target).startswith(("nnrun.", "torch."))


# In a run of so few epochs: keys are followed by the epochs. Nothing is said where nothing trains, with 0 of them.
_TOO_SHORT = (
    Idle(
        ("early_stopping.patience",),
        ("early_stopping.patience", "trainer.epochs"),
        lambda patience, epochs: patience is not None and patience >= epochs,
        "early_stopping.patience={} has no effect with trainer.epochs={}: the run ends first; lower it, or "
        "early_stopping=none",
    ),
    Idle(
        ("scheduler", "scheduler.step_size"),
        ("scheduler.step_size", "trainer.epochs", "scheduler._target_"),
        lambda size, epochs, target: size is not None and _ends_with(target, "StepLR") and size >= epochs,
        "scheduler.step_size={} has no effect with trainer.epochs={}: the learning rate changes after the end; lower "
        "it, or raise trainer.epochs, or use scheduler=none",
    ),
    Idle(
        ("scheduler", "scheduler.patience"),
        ("scheduler.patience", "trainer.epochs", "scheduler._target_"),
        lambda patience, epochs, target: (
            patience is not None and _ends_with(target, "ReduceLROnPlateau") and patience + 2 >= epochs
        ),
        "scheduler.patience={} has no effect with trainer.epochs={}: a plateau shows only after the end; lower it, or "
        "raise trainer.epochs, or use scheduler=none",
    ),
    Idle(
        ("scheduler",),
        ("scheduler.gamma", "trainer.epochs", "scheduler._target_"),
        lambda _, epochs, target: epochs == 1 and _ends_with(target, "ExponentialLR"),
        "scheduler=exponential has no effect with trainer.epochs=1: the learning rate changes after each epoch; "
        "raise trainer.epochs, or use scheduler=none",
    ),
)

_ALWAYS = (
    Idle(
        ("scheduler.gamma",),
        ("scheduler.gamma", "scheduler._target_"),
        lambda gamma, target: gamma == 1 and _ends_with(target, "StepLR", "ExponentialLR", "MultiStep"),
        "scheduler.gamma={} has no effect: the learning rate stays as it is; use scheduler=none",
    ),
    Idle(
        ("scheduler.milestones",),
        ("scheduler.milestones", "scheduler._target_"),
        lambda milestones, target: milestones == [] and _ends_with(target, "MultiStep"),
        "scheduler.milestones={} has no effect: the learning rate stays as it is; use scheduler=none",
    ),
    Idle(
        ("scheduler.min_lr",),
        ("scheduler.min_lr", "optimizer.lr", "scheduler._target_"),
        lambda low, rate, target: (
            isinstance(low, int | float)
            and isinstance(rate, int | float)
            and _ends_with(target, "ReduceLROnPlateau", "WarmupCosine")
            and low == rate
        ),
        "scheduler.min_lr={} is the learning rate itself, which would never fall; use scheduler=none",
    ),
    Idle(
        ("scheduler.base_momentum", "scheduler.max_momentum"),
        ("scheduler.cycle_momentum", "scheduler._target_"),
        lambda cycles, target: cycles is False and _ends_with(target, "OneCycle"),
        "scheduler.base_momentum and scheduler.max_momentum have no effect with scheduler.cycle_momentum=false",
    ),
    Idle(
        ("scheduler.max_lr",),
        ("scheduler.max_lr", "optimizer.lr", "scheduler._target_", "optimizer._target_"),
        # A typed learning rate of the optimizer would be overruled; muon's two rates keep their ratio.
        lambda top, rate, target, optimizer: (
            top != rate and _ends_with(target, "OneCycle") and not _ends_with(optimizer, "Muon")
        ),
        "optimizer.lr has no effect with scheduler.max_lr={}, which onecycle takes instead; leave one out",
    ),
    Idle(
        ("optimizer.dampening",),
        ("optimizer.dampening", "optimizer.momentum"),
        lambda dampening, momentum: bool(dampening) and momentum == 0,
        "optimizer.dampening={} has no effect with optimizer.momentum=0",
    ),
    Idle(
        ("optimizer.decoupled_weight_decay",),
        ("optimizer.decoupled_weight_decay", "optimizer.weight_decay"),
        lambda decoupled, decay: decoupled is True and decay == 0,
        "optimizer.decoupled_weight_decay=true has no effect with optimizer.weight_decay=0",
    ),
    Idle(
        ("trainer.max_nonfinite",),
        ("trainer.max_nonfinite", "trainer.nonfinite"),
        lambda _, nonfinite: nonfinite == "stop",
        "trainer.max_nonfinite={} has an effect only with trainer.nonfinite=skip",
    ),
    Idle(
        ("trainer.checkpoint_every_steps",),
        ("trainer.checkpoint_every_steps", "trainer.max_steps"),
        lambda every, most: every is not None and most is not None and every > most,
        "trainer.checkpoint_every_steps={} has no effect with trainer.max_steps={}: that step does not come",
    ),
)
# Words that must be typed as well.
_TOGETHER = {"scheduler.max_lr": "optimizer.lr"}


def idle_settings(typed: Sequence[Typed], tree: Mapping[str, Any], task: Task | None) -> list[Complaint]:
    """Complain of each typed setting that cannot act in what a config asks for, a training or another task."""
    problems = _found(task.idle, typed, tree) if task is not None else []
    if not _trains(tree, task):
        return problems
    problems += _found(_ALWAYS, typed, tree)
    return problems if _is_trial(typed) else problems + _too_short(typed, tree)


def trial_notes(typed: Sequence[Typed], tree: Mapping[str, Any], task: Task) -> list[str]:
    """Return what is said of settings that cannot act only because `trainer=debug` cuts the run short."""
    return [item.text for item in _too_short(typed, tree)] if _trains(tree, task) and _is_trial(typed) else []


def of_steps(
    typed: Sequence[Typed], tree: Mapping[str, Any], steps_per_epoch: int, total_steps: int
) -> list[Complaint]:
    """Complain of each typed setting that cannot act in a run of so many steps."""
    words = {item.key for item in typed if not item.is_group}
    trainer, scheduler = tree["trainer"], tree.get("scheduler") or {}
    whole = trainer["epochs"] * steps_per_epoch
    length = f"the run has {total_steps:,} steps, {steps_per_epoch:,} an epoch"
    found = {
        "trainer.max_steps": (trainer["max_steps"] or 0) > whole > 0,
        "trainer.checkpoint_every_steps": (trainer["checkpoint_every_steps"] or 0) > total_steps > 0,
        "transfer.unfreeze_epoch": ((value_at(tree, "transfer.unfreeze_epoch") or 1) - 1) * steps_per_epoch
        >= total_steps
        > 0,
        "scheduler.warmup_fraction": _warmup(scheduler, total_steps) > 0
        and round(_warmup(scheduler, total_steps)) == 0,
        "scheduler.total_steps": _warmup(scheduler, total_steps) >= total_steps > 0,
    }
    more = {
        "trainer.max_steps": "; raise trainer.epochs for more",
        "scheduler.warmup_fraction": "; the learning rate rises over less than one",
        "scheduler.total_steps": "; the learning rate rises longer than that, and never falls",
    }
    return [
        Complaint(key, f"{key}={value_at(tree, key)} has no effect: {length}{more.get(key, '')}")
        for key, is_idle in found.items()
        if is_idle and key in words
    ]


def _warmup(scheduler: Mapping[str, Any], total_steps: int) -> float:
    """Return how many steps, rounded up from nothing, the learning rate rises; 0 without such a schedule."""
    fraction = scheduler.get("warmup_fraction")
    if not isinstance(fraction, int | float) or not _ends_with(scheduler.get("_target_"), "WarmupCosine"):
        return 0
    return fraction * (scheduler.get("total_steps") or total_steps)


def _trains(tree: Mapping[str, Any], task: Task | None) -> bool:
    """Return whether a config asks for a training of an epoch or more."""
    return task is not None and task.trains and bool(value_at(tree, "trainer.epochs"))


def _is_trial(typed: Sequence[Typed]) -> bool:
    """Return whether `trainer=debug` cuts the run short, to see that a real run's words work."""
    return any(item.key == "trainer" and item.value == "debug" for item in typed)


def _too_short(typed: Sequence[Typed], tree: Mapping[str, Any]) -> list[Complaint]:
    """Complain of each typed setting that cannot act in so few epochs."""
    return _found(_TOO_SHORT, typed, tree)


def _found(rows: Sequence[Idle], typed: Sequence[Typed], tree: Mapping[str, Any]) -> list[Complaint]:
    """Complain of the rows that hold."""
    words, found = {item.key for item in typed}, []
    for row in rows:
        needed = {_TOGETHER[word] for word in row.words if word in _TOGETHER}
        values = [value_at(tree, key) for key in row.keys]
        try:
            holds = not words.isdisjoint(row.words) and needed <= words and row.holds(*values)
        except TypeError:
            continue  # a value of a wrong type is another row's matter
        if holds:
            found.append(Complaint(row.words[0], row.message.format(*values), (*row.words[1:], *row.keys)))
    return found
