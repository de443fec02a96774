"""The record of `task=evaluate`, a run that trains nothing; tasks/train/run.py runs both."""

from __future__ import annotations

from nnrun.config.task import OF_A_TRAINING, OF_ANY_NETWORK, Task

TASK = Task(
    name="evaluate",
    run="nnrun.tasks.train.run.run",
    help=(("nnrun ckpt=outputs/latest", "evaluate a finished run"),),
    is_meant=lambda tree: tree.get("ckpt") and not tree.get("export"),
    needs={"ckpt": "task=evaluate needs ckpt=: a run directory or a checkpoint file"},
    unread=OF_A_TRAINING,
    reads_of_unread=(*OF_ANY_NETWORK, "report"),
    unread_with="ckpt=: nothing is trained",
    builds=("model", "problem", "loss", "metric", "data"),
    keeps_unbuilt=True,
)
