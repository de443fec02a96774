"""Which jobs of a sweep can be trained together, and why others cannot: from their configs, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnrun.base.visible import few
from nnrun.config.auto import AUTO
from nnrun.config.composed import Composed

# Settings in which jobs of one stack may differ, and all that is in them: each job has its own optimizer, schedule,
# loss, augmentation and stopping, and is saved and measured by itself.
_MAY_DIFFER = (
    "seed",
    "optimizer",
    "scheduler",
    "loss",
    "augment",
    "early_stopping",
    "export",
    "logger",
    "report",
    "model.dropout",
    "trainer.epochs",
    "trainer.max_steps",
    "trainer.accumulate",
    "trainer.grad_clip_norm",
    "trainer.ema_decay",
    "trainer.validate_every_steps",
    "trainer.checkpoint_every_steps",
    "trainer.keep_last",
    "trainer.log_every_steps",
    "trainer.progress",
)
# Settings of which a stack supports only some values; the first is the default.
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "trainer.precision": ("auto", "fp32"),
    "trainer.devices": (1,),
    "trainer.compile": (False, "auto"),
    "trainer.recompute": (False,),
    "trainer.nonfinite": ("stop",),
    "trainer.watch": ("none",),
    "trainer.profile": (False,),
    "trainer.max_minutes": (None,),
    "transfer.freeze": ("none",),
    "data.num_workers": (0,),
    "data.residency": ("auto", "device", "memory"),
}


def why_not(one: Composed, other: Composed) -> list[str]:
    """Return why two jobs cannot be trained together; empty if they can."""
    ours, theirs, absent = _flat(one.resolved()), _flat(other.resolved()), object()
    keys = dict.fromkeys([*ours, *theirs])
    differing = [key for key in keys if ours.get(key, absent) != theirs.get(key, absent) and not _may_differ(key)]
    reasons = [*why_never(one), *why_never(other), *([f"the jobs differ in {few(differing)}"] if differing else [])]
    return list(dict.fromkeys(reasons))


def why_never(job: Composed) -> list[str]:
    """Return why a job cannot be part of any stack; empty if it can."""
    if not job.task.trains:
        return ["only trainings are stacked"]
    found, settings = [], _flat(job.resolved())
    if job.source is not None:
        found.append(f"{job.source.key}= is not supported")
    for key, allowed in _ONLY.items():
        if settings.get(key, allowed[0]) not in allowed:
            found.append(f"{key}={_typed(settings[key])} is not supported; use {' or '.join(map(_typed, allowed))}")
    if settings["data.batch_size"] == AUTO:
        found.append("data.batch_size=auto is measured for each job; give a number")
    if callbacks := [key.split(".")[1] for key in settings if key.startswith("callback.")]:
        found.append(f"callback={few(dict.fromkeys(callbacks))} may change what the network computes")
    return found


def _may_differ(key: str) -> bool:
    """Return whether jobs of one stack may differ in a setting."""
    return any(key == free or key.startswith(f"{free}.") for free in _MAY_DIFFER)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a config by their full keys; lists are values."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _typed(value: object) -> str:
    """Return a value as it is typed."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
