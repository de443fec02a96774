"""Allowed values of the loggers' settings. Needs no torch."""

from __future__ import annotations

from nnrun.config.ranges import POSITIVE, Range

_TEXT = Range(lambda value: isinstance(value, str) and value.strip() != "", "a name")
_TEXT_OR_NULL = Range(lambda value: value is None or _TEXT.holds(value), "a name or null", ("null",))
_SWITCH = Range(lambda value: isinstance(value, bool), "true or false", ("true", "false"))
_MODES = ("online", "offline")

RANGES = {
    **{f"logger.tensorboard.{name}": _SWITCH for name in ("histograms", "graph", "mistakes")},
    "logger.mlflow.tracking_uri": Range(
        lambda value: value is None or _TEXT.holds(value), "the address of a store or a server, or null", ("null",)
    ),
    "logger.mlflow.experiment": _TEXT,
    "logger.mlflow.name": _TEXT_OR_NULL,
    "logger.mlflow.artifacts": _SWITCH,
    "logger.mlflow.finish_seconds": POSITIVE,
    "logger.wandb.project": _TEXT,
    "logger.wandb.entity": _TEXT_OR_NULL,
    "logger.wandb.name": _TEXT_OR_NULL,
    "logger.wandb.mode": Range(
        lambda value: value is None or value in _MODES, f"{', '.join(_MODES)} or null", (*_MODES, "null")
    ),
    **{f"logger.wandb.{name}": _SWITCH for name in ("histograms", "mistakes")},
    "logger.wandb.finish_seconds": POSITIVE,
}
