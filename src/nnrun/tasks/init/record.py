"""The record of `nnrun init DIR`."""

from __future__ import annotations

from nnrun.config.task import Task

TASK = Task(
    name="init",
    run="nnrun.tasks.init.run.init",
    help=(("nnrun init DIR", "a small project of your own, which runs as is"),),
    help_adds="DIR must be new or empty. The project has conf/ with a model, a data set and an experiment, the Python "
    "files of the model and the data set, a test and a README. Then: cd DIR && nnrun experiment=first",
    is_named=False,
    is_command=True,
    builds=(),
    not_swept="nnrun init creates a project and cannot be a job of a sweep",
)
