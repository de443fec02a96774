"""What an exporter receives, and what it must provide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from nnrun.base.targets import Targets
from nnrun.core.seams.data import Preprocessing, Tree
from nnrun.core.seams.problem import Problem


@dataclass(frozen=True)
class ExportContext:
    """What an exporter may need besides the network.

    `example` is a few raw samples: a tensor, or a dict or tuple of tensors, as the network takes them in one argument.
    `problem` says what its outputs mean: `problem.final_layer("scores")` turns them into what an artifact returns.
    `score` is the main metric, `problem.headline`, on the test split. `calibration(n)` draws up to `n` raw training
    samples; none are read before it is called. `config` is the run's, as plain values, without secrets. `in_shape` is
    the shape of a sample, or a tree of shapes, with None for a dimension that differs between samples.
    """

    example: Tree
    problem: Problem
    preprocessing: Preprocessing
    run_id: str
    score: float
    calibration: Callable[[int], Tree]
    config: Mapping[str, Any]
    in_shape: Tree | None = None

    @property
    def targets(self) -> Targets:
        """What the network has learned."""
        return self.problem.targets

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of its outputs."""
        return self.targets.names


class CannotExport(Exception):
    """A format cannot express a network; the message is the reason, and names a format that can."""


class Exporter(Protocol):
    """One format. Verification, which is the same for all formats, calls `load` and compares with the network.

    An exporter may also have: `output`, "probabilities" if its artifact returns those and not scores; `max_drop`, by
    how much the main metric may be worse; `notes`, for people, on how the artifact was made; `takes_given`, true if the
    artifact takes samples as its callers have them (`Split.given`) by the names of its inputs; `typical_seconds`, how
    long exporting and verifying a small network takes, which a budget of minutes keeps free; `retry(reason)`, which may
    return another exporter to try if the artifact fails verification; `publish(folder)`, which sends the finished
    folder of a verified artifact elsewhere, and returns plain values that say where, or None; and a static method
    `check_environment(parameters)`, which raises ResourceError before a training if that will not be possible.
    """

    tolerance: float
    min_agreement: float
    preprocess: bool

    def export(self, model: nn.Module, context: ExportContext, folder: Path) -> Path:
        """Write the artifact of a network in eval mode, on the CPU, in fp32; return its path.

        Raises CannotExport if the format cannot express the network.
        """
        ...

    def load(self, path: Path) -> Callable[[Tree], Tensor]:
        """Return the artifact as a function from a batch, raw if `preprocess`, else normalized, to its output `(N, K)`.

        If it runs without the model's class, return an `nnrun.proof.isolated.Isolated`.
        """
        ...


def max_drop_of(exporter: Exporter) -> float | None:
    """Return by how much the main metric may be worse, if an exporter says so."""
    return getattr(exporter, "max_drop", None)


def retry_of(exporter: Exporter, reason: str) -> Exporter | None:
    """Return an exporter to try after a failed verification, if an exporter has one for this reason."""
    retry = getattr(exporter, "retry", None)
    return retry(reason) if retry is not None else None
