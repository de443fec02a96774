"""The record of `task=lr_find`, and its settings."""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.config.conflicts import Conflict
from nnrun.config.ranges import number, whole
from nnrun.config.task import Task


@dataclass(frozen=True)
class LrFindSettings:
    """The learning rates that task=lr_find tries, and in how many steps."""

    min: float
    max: float
    steps: int


TASK = Task(
    name="lr_find",
    run="nnrun.tasks.lr_find.run.find_rate",
    help=(("nnrun task=lr_find model=cnn", "try rising learning rates; suggest one"),),
    settings=LrFindSettings,
    ranges={
        "lr_find.min": number(1e-12, 1e3),
        "lr_find.max": number(1e-12, 1e3),
        # With fewer, the part of the curve that falls cannot be told from noise.
        "lr_find.steps": whole(20, 10_000),
    },
    conflicts=(
        Conflict(
            ("lr_find.min", "lr_find.max"),
            lambda least, most: least * 10 > most,
            "lr_find.max must be at least ten times lr_find.min",
        ),
    ),
    excludes={
        "resume": "task=lr_find and resume exclude each other; name the run with ckpt=",
        "repeat": "task=lr_find and repeat exclude each other; name the run with ckpt=",
        "export": "export has no effect with task=lr_find",
    },
    unread=(
        *("optimizer.lr", "scheduler", "early_stopping", "metric", "callback", "export", "logger", "report"),
        *("data.eval_batch_size", "transfer.unfreeze_epoch", "transfer.cache", "trainer"),
    ),
    reads_of_unread=(
        *("trainer.device", "trainer.precision", "trainer.channels_last", "trainer.deterministic"),
        *("trainer.threads", "trainer.progress", "trainer.recompute", "trainer.accumulate", "trainer.grad_clip_norm"),
    ),
    unread_with="task=lr_find: it takes its own steps",
    builds=("model", "data", "problem", "loss", "optimizer", "augment"),
    retrains=True,
    refuses_weights="{} holds only weights: give them to task=lr_find with init_from=",
)
