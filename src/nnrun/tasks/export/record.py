"""The record of an evaluation that also exports: `export=` with `ckpt=`."""

from __future__ import annotations

from nnrun.config.task import OF_A_TRAINING, OF_ANY_NETWORK, Task

TASK = Task(
    name="export",
    run="nnrun.tasks.train.run.run",
    help=(("nnrun export=onnx ckpt=outputs/latest", "evaluate and export it"),),
    is_named=False,
    is_meant=lambda tree: tree.get("ckpt") and tree.get("export"),
    unread=OF_A_TRAINING,
    reads_of_unread=(*OF_ANY_NETWORK, "report"),
    unread_with="ckpt=: nothing is trained",
    builds=("model", "problem", "loss", "metric", "data", "export"),
    keeps_unbuilt=True,
)
