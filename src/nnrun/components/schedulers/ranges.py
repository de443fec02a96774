"""What the parameters of a scheduler may be. Needs no torch."""

from __future__ import annotations

from nnrun.config.conflicts import Conflict
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
        "data.val_fraction=0 leaves scheduler=plateau nothing to watch; choose another scheduler",
    ),
)
