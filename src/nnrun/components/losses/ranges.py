"""What the parameters of a loss may be. Needs no torch."""

from __future__ import annotations

from nnrun.config.conflicts import Conflict
from nnrun.config.ranges import NOT_NEGATIVE, Range, number, several, whole

CLASS_WEIGHTS = Range(
    lambda v: v is None or v == "balanced" or (several(NOT_NEGATIVE).holds(v) and any(v)),
    "null, balanced, or a list of a finite number from 0 up for each class, not all 0",
)

RANGES = {
    "loss.weight": CLASS_WEIGHTS,
    "loss.alpha": CLASS_WEIGHTS,
    "loss.class_counts": Range(
        lambda v: v is None or (several(whole(0)).holds(v) and len(v) > 1), "null or a list of whole numbers from 0 up"
    ),
    "loss.gamma": NOT_NEGATIVE,
    "loss.label_smoothing": number(0, 1, below=True),
}

CONFLICTS = (
    Conflict(
        ("loss.class_counts", "loss.weight", "loss.alpha", "loss._target_"),
        lambda counts, weight, alpha, target: (
            counts and "balanced" not in (weight, alpha) and str(target).startswith("nnrun.")
        ),
        "loss.class_counts has an effect only with loss.weight=balanced or, of the focal loss, loss.alpha=balanced",
    ),
)

# The kind of targets that each loss is for.
DATA_KINDS = {
    "nnrun.components.losses.cross_entropy.CrossEntropy": ("classes",),
    "nnrun.components.losses.focal.Focal": ("classes",),
}
