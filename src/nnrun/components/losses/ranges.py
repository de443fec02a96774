"""Allowed values of the losses' parameters. Needs no torch."""

from __future__ import annotations

from nnrun.config.conflicts import Conflict
from nnrun.config.ranges import NOT_NEGATIVE, POSITIVE, Range, number, several, whole

CLASS_WEIGHTS = Range(
    lambda v: v is None or v == "balanced" or (several(NOT_NEGATIVE).holds(v) and any(v)),
    "null, balanced, or a list with a finite number from 0 up for each class, not all 0",
    ("null", "balanced"),
)
LABEL_WEIGHTS = Range(
    lambda v: v is None or v == "balanced" or (several(POSITIVE).holds(v) and v != []),
    "null, balanced, or a list with a finite number above 0 for each label",
    ("null", "balanced"),
)

RANGES = {
    "loss.weight": CLASS_WEIGHTS,
    "loss.alpha": CLASS_WEIGHTS,
    "loss.class_counts": Range(
        lambda v: v is None or (several(whole(0)).holds(v) and len(v) > 1), "null or a list of whole numbers from 0 up"
    ),
    "loss.pos_weight": LABEL_WEIGHTS,
    "loss.label_counts": Range(
        lambda v: v is None or (several(whole(0)).holds(v) and v != []), "null or a list of whole numbers from 0 up"
    ),
    "loss.num_samples": whole(1, null=True),
    "loss.gamma": NOT_NEGATIVE,
    "loss.delta": POSITIVE,
    "loss.label_smoothing": number(0, 1, below=True),
}

CONFLICTS = (
    Conflict(
        ("loss.class_counts", "loss.weight", "loss.alpha", "loss._target_"),
        lambda counts, weight, alpha, target: (
            counts and "balanced" not in (weight, alpha) and str(target).startswith("nnrun.")
        ),
        "loss.class_counts has an effect only with loss.weight=balanced or, for the focal loss, loss.alpha=balanced",
    ),
    Conflict(
        ("loss.label_counts", "loss.num_samples", "loss.pos_weight", "loss._target_"),
        lambda counts, number, weight, target: (
            (counts or number) and weight != "balanced" and str(target).startswith("nnrun.")
        ),
        "loss.label_counts and loss.num_samples have an effect only with loss.pos_weight=balanced",
    ),
)

# The kind of targets that each loss needs; torch losses are listed if they take scores and targets unchanged.
DATA_KINDS = {
    "nnrun.components.losses.cross_entropy.CrossEntropy": ("classes",),
    "nnrun.components.losses.focal.Focal": ("classes",),
    "nnrun.components.losses.bce.BinaryCrossEntropy": ("labels",),
    "nnrun.components.losses.mse.SquaredError": ("values",),
    "nnrun.components.losses.mae.AbsoluteError": ("values",),
    "nnrun.components.losses.huber.Huber": ("values",),
    **dict.fromkeys(("torch.nn.CrossEntropyLoss", "torch.nn.MultiMarginLoss"), ("classes",)),
    **dict.fromkeys(("torch.nn.BCEWithLogitsLoss", "torch.nn.MultiLabelSoftMarginLoss"), ("labels",)),
    **{f"torch.nn.{name}": ("values",) for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")},
}
