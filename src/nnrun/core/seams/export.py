"""What a format is asked for, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from nnrun.base.deprecated import warn_about, warn_renamed
from nnrun.base.targets import Targets
from nnrun.core.seams.data import Preprocessing, Tree
from nnrun.core.seams.problem import Problem


@dataclass(frozen=True)
class ExportContext:
    """What an exporter may need besides the network.

    `example` are a few raw samples: a tensor, or a dict or tuple of tensors, as the network takes them in one argument.
    `problem` says what its outputs mean: `problem.final_layer("scores")` makes of them what an artifact gives. `score`
    is the metric to quote, `problem.headline`, on the test split. `calibration` draws raw training samples, at most so
    many, and reads none before it is called. `config` is that of the run, as plain values, without secrets.
    """

    example: Tree
    problem: Problem
    preprocessing: Preprocessing
    run_id: str
    score: float
    calibration: Callable[[int], Tree]
    config: Mapping[str, Any]

    @property
    def targets(self) -> Targets:
        """What the network has learned to give."""
        return self.problem.targets

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of what it gives."""
        return self.targets.names

    @property
    def accuracy(self) -> float:
        """What `score` was called until 0.3.0."""
        warn_renamed("nnrun.api.ExportContext.accuracy", "nnrun.api.ExportContext.score", gone_in="0.6.0")
        return self.score


class CannotExport(Exception):
    """A format cannot express a network; the message is the reason, and names a format that can."""


class Exporter(Protocol):
    """One format. The verifier, written once for all, calls `load` and compares with the network.

    An exporter may say more of its artifact: that its `output` is "probabilities", where others give scores; by how
    much the metric to quote may be worse, `max_drop`; and `notes` on how it was made, for people. Where an artifact
    fails verification, `retry(reason)` may return another exporter that makes it in another way.
    """

    tolerance: float
    min_agreement: float
    preprocess: bool

    def export(self, model: nn.Module, context: ExportContext, folder: Path) -> Path:
        """Write the artifact of a network in eval mode, on the CPU, in fp32; return its path.

        Raises CannotExport where the format cannot express the network.
        """
        ...

    def load(self, path: Path) -> Callable[[Tree], Tensor]:
        """Return the artifact as a function from a batch, raw or normalised by `preprocess`, to its output `(N, K)`.

        Where it can be run without the model's class, that is an `nnrun.proof.isolated.Isolated`.
        """
        ...


def max_drop_of(exporter: Exporter) -> float | None:
    """Return by how much the metric to quote may be worse, where an exporter says it."""
    if not hasattr(exporter, "max_drop") and hasattr(exporter, "max_accuracy_drop"):
        old, new = (f"nnrun.api.Exporter.{name}" for name in ("max_accuracy_drop", "max_drop"))
        warn_about(type(exporter), old, new, gone_in="0.6.0")
        return exporter.max_accuracy_drop
    return getattr(exporter, "max_drop", None)
