"""The record of `task=replay`, and its settings."""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.config.ranges import whole
from nnrun.config.task import Task


@dataclass(frozen=True)
class ReplaySettings:
    """Which step task=replay runs again."""

    step: int | None


TASK = Task(
    name="replay",
    run="nnrun.tasks.replay.run.replay",
    help=(
        ("nnrun task=replay ckpt=RUN replay.step=120", "run a training step again; name the layer where NaN begins"),
    ),
    settings=ReplaySettings,
    ranges={"replay.step": whole(1, null=True)},
    needs={"ckpt": "task=replay needs ckpt=: the run directory of a training"},
    excludes={
        "resume": "task=replay and resume exclude each other; name the run with ckpt=",
        "repeat": "task=replay and repeat exclude each other; name the run with ckpt=",
        "init_from": "task=replay and init_from exclude each other; name the run with ckpt=",
        "export": "export has no effect with task=replay",
    },
    unread=(
        "export",
        "logger",
        "trainer.epochs",
        "trainer.max_minutes",
        "trainer.keep_last",
        "trainer.checkpoint_every_steps",
    ),
    unread_with="task=replay: the steps are those of the run",
    builds=("model", "data", "problem", "loss", "metric", "optimizer", "scheduler", "augment", "callback"),
    retrains=True,
    refuses_weights="{} holds only weights: task=replay needs the run directory of a training",
    not_swept="task=replay examines one step of one run",
)
