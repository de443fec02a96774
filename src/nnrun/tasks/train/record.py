"""The record of `task=train`."""

from __future__ import annotations

from nnrun.config.task import Task

TASK = Task(
    name="train",
    run="nnrun.tasks.train.start.start",
    help=(
        ("nnrun", "train, evaluate, export, report"),
        ("nnrun model=mlp optimizer.lr=3e-3", "choose options of groups, set values"),
        ("nnrun -m optimizer.lr=1e-3,3e-3 seed=0,1", "a sweep: a job for each combination"),
        ("nnrun resume=RUN_DIR", "resume a run (bit-exact)"),
        ("nnrun init_from=PATH", "a new run from those weights"),
        ("nnrun repeat=RUN", "repeat a run; report what differs"),
    ),
    is_meant=lambda tree: not tree.get("ckpt"),
    excludes={
        "ckpt": "task=train and ckpt exclude each other; init_from= starts a new run from a checkpoint's weights",
    },
    trains=True,
)
