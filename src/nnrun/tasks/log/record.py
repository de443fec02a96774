"""The record of `task=log`."""

from __future__ import annotations

from nnrun.config.task import OF_A_TRAINING, Task

TASK = Task(
    name="log",
    run="nnrun.tasks.log.run.send",
    help=(("nnrun task=log ckpt=RUN logger=mlflow", "send a finished run to loggers"),),
    needs={
        "ckpt": "task=log needs ckpt=: the directory of a run that has ended",
        "logger": "task=log needs logger=: where to send the run, such as logger=mlflow",
    },
    excludes={
        "resume": "task=log and resume exclude each other; ckpt= names the run",
        "repeat": "task=log and repeat exclude each other; ckpt= names the run",
        "init_from": "task=log and init_from exclude each other; ckpt= names the run",
        "export": "export has no effect with task=log; to export, use nnrun export=... ckpt=...",
    },
    unread=("model", "data", "problem", "loss", "metric", *(name for name in OF_A_TRAINING if name != "logger")),
    reads_of_unread=("report",),
    unread_with="task=log: it sends what the run has written",
    builds=("logger",),
    refuses_weights="{} contains only weights; task=log needs the directory of a run",
    not_swept="task=log measures nothing and cannot be a job of a sweep; run it for each job",
)
