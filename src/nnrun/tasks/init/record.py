"""The record of `nnrun init DIR`."""

from __future__ import annotations

from nnrun.config.task import Task

TASK = Task(
    name="init",
    run="nnrun.tasks.init.run.init",
    help=(("nnrun init DIR", "a small project of your own, which runs as it stands"),),
    is_named=False,
    is_command=True,
    builds=(),
    not_swept="nnrun init makes a project, and is no job of a sweep",
)
