"""The record of `task=batch_find`, and its settings."""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.config.ranges import whole
from nnrun.config.task import Task


@dataclass(frozen=True)
class BatchFindSettings:
    """The largest batch that task=batch_find tries, and the number of timed steps."""

    max: int | None
    steps: int


TASK = Task(
    name="batch_find",
    run="nnrun.tasks.batch_find.run.find_batch",
    help=(("nnrun task=batch_find model=cnn", "find the largest and the fastest batch size"),),
    settings=BatchFindSettings,
    ranges={"batch_find.max": whole(1, null=True), "batch_find.steps": whole(3, 1000)},
    excludes={
        "resume": "task=batch_find and resume exclude each other; name the run with ckpt=",
        "repeat": "task=batch_find and repeat exclude each other; name the run with ckpt=",
        "export": "export has no effect with task=batch_find",
    },
    unread=(
        *("scheduler", "early_stopping", "metric", "callback", "export", "logger", "report"),
        *("data.batch_size", "data.eval_batch_size", "transfer.unfreeze_epoch", "transfer.cache", "trainer"),
    ),
    reads_of_unread=(
        *("trainer.device", "trainer.precision", "trainer.channels_last", "trainer.deterministic"),
        *(
            "trainer.threads",
            "trainer.progress",
            "trainer.recompute",
            "trainer.accumulate",
            "trainer.grad_clip_norm",
            "trainer.ema_decay",
        ),
    ),
    unread_with="task=batch_find: it takes its own steps",
    builds=("model", "data", "problem", "loss", "optimizer", "augment"),
    retrains=True,
    refuses_weights="{} holds only weights: give them to task=batch_find with init_from=",
)
