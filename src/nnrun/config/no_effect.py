"""Settings given explicitly without effect: in a run of this length, or beside other settings. Needs no torch.

A default without effect is not reported. Checks that depend on the number of steps come once the data is read:
`of_steps`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnrun.base.errors import Complaint
from nnrun.base.shown import counted
from nnrun.config.tree import value_at

if TYPE_CHECKING:
    from nnrun.config.overrides import Typed
    from nnrun.config.task import Task


@dataclass(frozen=True)
class Idle:
    """A setting, or an option with such a default, without effect where `is_idle` is true of the values at `keys`.

    One of the keys `words`, and all of `together`, must be given on the command line. `by_length`: it has an effect in
    a longer run.
    """

    words: tuple[str, ...]
    keys: tuple[str, ...]
    is_idle: Callable[..., bool]
    message: str
    together: tuple[str, ...] = ()
    by_length: bool = False


def is_one_of(target: object, *names: str) -> bool:
    """Return whether a `_target_` is one of the classes."""
    return str(target).rpartition(".")[2] in names and str(target).startswith(("nnrun.", "torch."))


IDLE = (
    Idle(
        ("early_stopping.patience",),
        ("early_stopping.patience", "trainer.epochs", "trainer.validate_every_steps"),
        lambda patience, epochs, every: every is None and patience is not None and patience >= epochs,
        "early_stopping.patience={} has no effect with trainer.epochs={}: the run ends first; lower it, or use "
        "early_stopping=none",
        by_length=True,
    ),
    Idle(
        ("trainer.max_nonfinite",),
        ("trainer.max_nonfinite", "trainer.nonfinite"),
        lambda _, nonfinite: nonfinite == "stop",
        "trainer.max_nonfinite={} has an effect only with trainer.nonfinite=skip",
    ),
    Idle(
        ("trainer.watch_every_steps",),
        ("trainer.watch_every_steps", "trainer.watch"),
        lambda _, watch: watch == "none",
        "trainer.watch_every_steps={} has an effect only with trainer.watch=all, or some parts of it",
    ),
    Idle(
        ("data.val_fraction",),
        ("data.val_fraction", "data.num_folds"),
        lambda _, num_folds: num_folds is not None,
        "data.val_fraction={} has no effect with data.num_folds={}: one of the parts is the validation split",
    ),
    Idle(
        ("data.fold",),
        ("data.fold", "data.num_folds"),
        lambda _, num_folds: num_folds is None,
        "data.fold={} has an effect only with data.num_folds, the number of parts",
    ),
    Idle(
        ("data.split_seed",),
        ("data.split_seed", "data.time", "data.limit"),
        lambda _, time, limit: time is not None and limit is None,
        "data.split_seed={} has no effect with data.time={}: the newest samples are held out",
    ),
    Idle(
        ("data.split_by",),
        ("data.split_by", "data.time", "data.limit"),
        lambda _, time, limit: time is not None and limit is None,
        "data.split_by={} has no effect with data.time={}: the newest samples are held out",
    ),
    Idle(
        ("trainer.validate_every_steps",),
        ("trainer.validate_every_steps", "data.val_fraction", "data.num_folds"),
        lambda every, fraction, num_folds: every is not None and fraction == 0 and num_folds is None,
        "trainer.validate_every_steps={} has no effect with data.val_fraction={}: nothing is validated",
    ),
    Idle(
        ("trainer.validate_every_steps",),
        ("trainer.validate_every_steps", "trainer.max_steps"),
        lambda every, most: every is not None and most is not None and every >= most,
        "trainer.validate_every_steps={} has no effect with trainer.max_steps={}: the last step is validated anyway, "
        "and none before it would be",
        by_length=True,
    ),
    Idle(
        ("trainer.checkpoint_every_steps",),
        ("trainer.checkpoint_every_steps", "trainer.max_steps"),
        lambda every, most: every is not None and most is not None and every > most,
        "trainer.checkpoint_every_steps={} has no effect with trainer.max_steps={}: that step is never reached",
    ),
)


def idle_settings(
    typed: Sequence[Typed], tree: Mapping[str, Any], task: Task | None, rows: Sequence[Idle]
) -> list[Complaint]:
    """Complain of each setting given explicitly without effect in a config; `rows` are those of a training."""
    found = _found(task.idle, typed, tree) if task is not None else []
    if _trains(tree, task):
        found += _found([row for row in rows if not (row.by_length and _is_trial(typed))], typed, tree)
    return found


def trial_notes(
    typed: Sequence[Typed], tree: Mapping[str, Any], task: Task | None, rows: Sequence[Idle]
) -> tuple[str, ...]:
    """Return notes on settings that have no effect only because `trainer=debug` shortens the run."""
    if not _trains(tree, task) or not _is_trial(typed):
        return ()
    return tuple(item.text for item in _found([row for row in rows if row.by_length], typed, tree))


def of_steps(
    typed: Sequence[Typed], tree: Mapping[str, Any], steps_per_epoch: int, total_steps: int
) -> list[Complaint]:
    """Complain of each setting given explicitly without effect in a run of `total_steps`.

    With `trainer=debug`, which shortens the run, validations are not counted.
    """
    words = {item.key for item in typed if not item.is_group}
    trainer, scheduler = tree["trainer"], tree.get("scheduler") or {}
    whole = trainer["epochs"] * steps_per_epoch
    length = f"the run has {counted(total_steps, 'step')}, {steps_per_epoch:,} per epoch"
    every, num_validations = trainer["validate_every_steps"], _num_validations(trainer, steps_per_epoch, total_steps)
    is_counted = total_steps > 0 and every is not None and not _is_trial(typed)
    is_plateau = is_one_of(scheduler.get("_target_"), "ReduceLROnPlateau")
    found = {
        "trainer.validate_every_steps": is_counted and (every % steps_per_epoch == 0 or every >= total_steps),
        "early_stopping.patience": is_counted and (value_at(tree, "early_stopping.patience") or 0) >= num_validations,
        "scheduler.patience": is_counted and is_plateau and scheduler["patience"] + 2 >= num_validations,
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
        "trainer.validate_every_steps": "; the last step of each, and of the run, is validated anyway",
        "early_stopping.patience": f"; the network is validated {counted(num_validations, 'time')}",
        "scheduler.patience": f"; the network is validated {counted(num_validations, 'time')}",
        "trainer.max_steps": "; raise trainer.epochs for more",
        "scheduler.warmup_fraction": "; the warmup would be shorter than one step",
        "scheduler.total_steps": "; the warmup is longer than that, so the learning rate never falls",
    }
    return [
        Complaint(key, f"{key}={value_at(tree, key)} has no effect: {length}{more.get(key, '')}")
        for key, is_idle in found.items()
        if is_idle and key in words
    ]


def _num_validations(trainer: Mapping[str, Any], steps_per_epoch: int, total_steps: int) -> int:
    """Return the number of validations of a run: at the end of each epoch, and at the steps asked for."""
    every = trainer["validate_every_steps"] or steps_per_epoch
    both = math.lcm(every, steps_per_epoch)
    num = total_steps // every + total_steps // steps_per_epoch - total_steps // both
    is_last_validated = total_steps % every == 0 or total_steps % steps_per_epoch == 0
    return num + (not is_last_validated)


def _warmup(scheduler: Mapping[str, Any], total_steps: int) -> float:
    """Return the length of the warmup in steps, not rounded; 0 without such a schedule."""
    fraction = scheduler.get("warmup_fraction")
    if not isinstance(fraction, int | float) or not is_one_of(scheduler.get("_target_"), "WarmupCosine"):
        return 0
    return fraction * (scheduler.get("total_steps") or total_steps)


def _trains(tree: Mapping[str, Any], task: Task | None) -> bool:
    """Return whether a config asks for a training of an epoch or more."""
    return task is not None and task.trains and bool(value_at(tree, "trainer.epochs"))


def _is_trial(typed: Sequence[Typed]) -> bool:
    """Return whether `trainer=debug` shortens the run, to try the settings of a full run."""
    return any(item.key == "trainer" and item.value == "debug" for item in typed)


def _found(rows: Sequence[Idle], typed: Sequence[Typed], tree: Mapping[str, Any]) -> list[Complaint]:
    """Complain of the settings that rows find idle."""
    words, found = {item.key for item in typed}, []
    for row in rows:
        values = [value_at(tree, key) for key in row.keys]
        try:
            is_idle = not words.isdisjoint(row.words) and words.issuperset(row.together) and row.is_idle(*values)
        except TypeError:
            continue  # a value of a wrong type is reported elsewhere
        if is_idle:
            found.append(Complaint(row.words[0], row.message.format(*values), (*row.words[1:], *row.keys)))
    return found
