"""What is known of the problems without building one: their kind of targets, and their metrics. Needs no torch."""

from __future__ import annotations

from nnrun.config.ranges import Range

RANGES: dict[str, Range] = {}

_CLASSIFICATION = "nnrun.components.problems.classification.Classification"

# The kind of targets that each is for.
DATA_KINDS = {_CLASSIFICATION: ("classes",)}

# What each measures, and whether more of it is better.
METRICS = {
    _CLASSIFICATION: {
        "loss": False,
        **dict.fromkeys(("accuracy", "top5_accuracy", "precision", "recall", "f1"), True),
    },
}
