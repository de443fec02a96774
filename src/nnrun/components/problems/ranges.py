"""Properties of the problems, known without building one: their kind of targets, and their metrics. Needs no torch."""

from __future__ import annotations

from nnrun.config.ranges import Range

RANGES: dict[str, Range] = {}

_CLASSIFICATION = "nnrun.components.problems.classification.Classification"
_MULTILABEL = "nnrun.components.problems.multilabel.Multilabel"
_REGRESSION = "nnrun.components.problems.regression.Regression"

# The kind of targets that each problem needs.
DATA_KINDS = {
    _CLASSIFICATION: ("classes",),
    _MULTILABEL: ("labels",),
    _REGRESSION: ("values",),
}

# The metrics of each problem, and whether higher is better.
METRICS = {
    _CLASSIFICATION: {
        "loss": False,
        **dict.fromkeys(("accuracy", "top5_accuracy", "precision", "recall", "f1"), True),
    },
    _MULTILABEL: {"loss": False, "f1_macro": True, "f1_micro": True, "map": True},
    _REGRESSION: {"loss": False, "mse": False, "mae": False, "r2": True},
}
