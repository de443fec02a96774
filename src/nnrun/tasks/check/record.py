"""The record of `task=check`."""

from __future__ import annotations

from nnrun.config.task import Task

TASK = Task(
    name="check",
    run="nnrun.tasks.check.run.check",
    help=(
        (
            "nnrun task=check ckpt=RUN",
            "read all of a run, compare every hash, say what is damaged and what still works",
        ),
        ("nnrun task=check ckpt=outputs", "the same of every run below a folder, or of a sweep"),
    ),
    help_adds="ckpt= is a run directory, a folder that is searched for runs, a pattern such as 'outputs/*/*cnn*', a "
    "list of these, or one file of a run. Nothing is written. Exit code 4: something is damaged or missing.",
    needs={"ckpt": "task=check needs ckpt=: a run directory, a sweep, or a folder of runs"},
    takes_only=("ckpt",),
    unread_with="task=check, which only reads what runs have saved",
    builds=(),
    opens_itself=True,
    not_swept="task=check measures nothing and cannot be a job of a sweep; ckpt= may be a whole folder of runs",
)
