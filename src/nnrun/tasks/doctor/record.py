"""The record of `task=doctor`."""

from __future__ import annotations

from nnrun.config.task import Task

TASK = Task(
    name="doctor",
    run="nnrun.tasks.doctor.run.doctor",
    help=(("nnrun task=doctor", "what works here, and a self-test"),),
    takes_only=("hydra.run.dir",),
    unread_with="task=doctor, which chooses its own settings",
    builds=(),
    not_swept="task=doctor checks the machine and cannot be a job of a sweep; run it by itself",
)
