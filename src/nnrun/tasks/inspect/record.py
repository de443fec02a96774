"""The record of `task=inspect`, and its settings."""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.config.no_effect import Idle
from nnrun.config.ranges import whole
from nnrun.config.task import Task


@dataclass(frozen=True)
class InspectSettings:
    """Optional checks and output of task=inspect."""

    overfit: bool
    steps: int
    depth: int | None


TASK = Task(
    name="inspect",
    run="nnrun.tasks.inspect.run.inspect",
    help=(("nnrun task=inspect model=cnn", "layers, cost, gradients; no training"),),
    settings=InspectSettings,
    ranges={"inspect.steps": whole(5), "inspect.depth": whole(1, null=True)},
    idle=(
        Idle(
            ("inspect.steps",),
            ("inspect.overfit",),
            lambda overfit: not overfit,
            "inspect.steps has an effect only with inspect.overfit=true",
        ),
    ),
    excludes={
        "resume": "task=inspect and resume exclude each other; ckpt= inspects the network of a run",
        "repeat": "task=inspect and repeat exclude each other; ckpt= inspects the network of a run",
    },
    unread=(
        *("scheduler", "early_stopping", "metric", "callback", "export", "logger", "report", "data.eval_batch_size"),
        *("transfer.unfreeze_epoch", "transfer.cache", "trainer"),
    ),
    reads_of_unread=(
        *("trainer.device", "trainer.precision", "trainer.channels_last", "trainer.deterministic"),
        *("trainer.threads", "trainer.progress", "trainer.recompute", "trainer.ema_decay", "trainer.grad_clip_norm"),
    ),
    unread_with="task=inspect: nothing is trained",
    # Without a scheduler, the learning rate is the optimizer's own.
    builds=("model", "data", "problem", "loss", "optimizer", "augment"),
)
