"""The record of `task=predict`, and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nnrun.components.data.conversion import HOW_READ
from nnrun.config.conflicts import Conflict
from nnrun.config.no_effect import Idle
from nnrun.config.ranges import TITLE, whole
from nnrun.config.task import OF_A_TRAINING, OF_ANY_NETWORK, Task


@dataclass(frozen=True)
class PredictSettings:
    """What task=predict writes, and in which format."""

    format: Literal["csv", "kaggle"]
    top_k: int | None
    id: Literal["number", "stem", "name"]
    id_column: str
    label_column: str


def _only_with(key: str, format_name: str) -> Idle:
    """Return the rule for a setting that only one format reads."""
    return Idle(
        (key,),
        ("predict.format",),
        lambda name: name != format_name,
        f"{key} has an effect only with predict.format={format_name}",
    )


# How image files are read, to override what the run says.
_HOW_READ = tuple(f"data.{name}" for name in HOW_READ)

TASK = Task(
    name="predict",
    run="nnrun.tasks.predict.run.predict",
    help=(
        (
            "nnrun task=predict ckpt=RUN input=DIR",
            "predict for images (a file, a folder, a pattern), the rows of a table, or texts (one a line, or a table)",
        ),
    ),
    settings=PredictSettings,
    ranges={
        "predict.top_k": whole(1, null=True),
        "predict.id_column": TITLE,
        "predict.label_column": TITLE,
    },
    conflicts=(
        Conflict(
            ("predict.id_column", "predict.label_column"),
            lambda id_column, label_column: id_column is not None and id_column == label_column,
            "predict.id_column and predict.label_column are both {}; give the columns different names",
        ),
    ),
    idle=(
        _only_with("predict.top_k", "csv"),
        _only_with("predict.id", "kaggle"),
        _only_with("predict.id_column", "kaggle"),
        _only_with("predict.label_column", "kaggle"),
    ),
    reads_alone=("input",),
    needs={
        "ckpt": "task=predict needs ckpt=: a run directory, a checkpoint file, or an ONNX file that nnrun exported",
        "input": (
            "task=predict needs input=: an image, a folder, a pattern in quotes, a table, a file of texts, or - for "
            "standard input"
        ),
    },
    excludes={
        "resume": "task=predict and resume exclude each other; ckpt= predicts with the network of a run",
        "repeat": "task=predict and repeat exclude each other; ckpt= predicts with the network of a run",
        "init_from": "task=predict and init_from exclude each other; name the checkpoint with ckpt=",
        "export": "export has no effect with task=predict; to export, use nnrun export=... ckpt=...",
    },
    unread=("data", "loss", "metric", *OF_A_TRAINING),
    reads_of_unread=("data.eval_batch_size", "data.on_bad", "data.text", *_HOW_READ, *OF_ANY_NETWORK),
    # Data, loss and optimizer may not be available.
    builds=("model", "problem"),
    takes_artifact=True,
    refuses_weights=(
        "{0} contains only weights, but a prediction also needs the class names and the preprocessing; make a "
        "checkpoint from it with init_from={0} model=... data=... trainer.epochs=0"
    ),
)
