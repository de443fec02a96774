"""The record of `task=report`."""

from __future__ import annotations

from nnrun.config.task import OF_A_TRAINING, Task

# What it writes into a run directory.
REPORT_NAME, CARD_NAME, PLOTS_NAME = "report.html", "MODEL_CARD.md", "plots"

TASK = Task(
    name="report",
    run="nnrun.tasks.report.run.report",
    help=(("nnrun task=report ckpt=RUN", "write a run's report.html and MODEL_CARD.md again"),),
    needs={"ckpt": "task=report needs ckpt=: a run directory"},
    excludes={
        "resume": "task=report and resume exclude each other; ckpt= names the run",
        "repeat": "task=report and repeat exclude each other; ckpt= names the run",
        "init_from": "task=report and init_from exclude each other; ckpt= names the run",
        "export": "export has no effect with task=report; to export, use nnrun export=... ckpt=...",
    },
    unread=("model", "data", "loss", "metric", *OF_A_TRAINING),
    reads_of_unread=("report",),
    unread_with="task=report: it only reads the run",
    builds=("problem",),
    refuses_weights="{} contains only weights; task=report needs a run directory",
    refuses_empty=(
        "{} is no training: it has no checkpoint to read the settings from; for an evaluation, run it again with "
        "report=default",
        "{} failed before its first checkpoint, so task=report finds no settings and no results; run.log says why it "
        "failed: start it again without that fault",
    ),
    not_swept="task=report measures nothing and cannot be a job of a sweep; report=default reports on each job",
)
