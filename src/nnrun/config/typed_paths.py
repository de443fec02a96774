"""The settings whose values are paths or name runs, by full key. Needs neither torch nor Hydra."""

from __future__ import annotations

# Settings that name a run, or a file of weights, to start from.
SOURCE_KEYS = ("ckpt", "resume", "init_from", "repeat")
# Values of these keys are paths: no character of theirs has a meaning in Hydra's grammar.
PATH_KEYS = (
    *SOURCE_KEYS,
    "input",
    "runs",
    "data.root",
    # Titles of columns and regular expressions, likewise.
    "data.group",
    "data.time",
    "transfer.weights",
    "hydra.run.dir",
    "hydra.sweep.dir",
)
# For these, a list with commas is a sweep, unless it is the name of an existing file.
SWEPT_PATHS = ("transfer.weights",)
HYDRA_KEYS = ("hydra.run.dir", "hydra.sweep.dir")
