"""The public interface for programs: functions, the base classes and Protocols of the seams, errors.

A renamed object keeps its old name, with a warning, for two minor versions (`nnrun.base.deprecated`).
Importing this module does not import torch: each name imports what it needs when it is used.
"""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nnrun.base.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    DivergedError,
    InterruptedRun,
    NnrunError,
    ResourceError,
)
from nnrun.base.foreign_errors import of_the_system
from nnrun.base.invocation import begin, called_from_python
from nnrun.base.secrets import hide_known, secrets_in_words
from nnrun.base.shown import Chart, Gallery, Table, Text
from nnrun.base.signals import stop_request
from nnrun.base.stopping import unanswered_signals
from nnrun.base.surroundings import kept_surroundings
from nnrun.base.targets import Targets
from nnrun.config.flags import is_switched_on

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nnrun.assembly.prediction.predictor import Predictor
    from nnrun.base.sample_results import SampleResults
    from nnrun.config.command_line import CommandLine
    from nnrun.core.seams.batch import Augmentation, Batch, Batches, Mixed, Mixing
    from nnrun.core.seams.callback import Callback
    from nnrun.core.seams.data import Dataset, DataSource, Evaluation, Findings, Preprocessing, Split, TensorSpec, Tree
    from nnrun.core.seams.export import CannotExport, ExportContext, Exporter
    from nnrun.core.seams.problem import Metric, Output, Problem, Sums
    from nnrun.core.seams.training import (
        GraphLogger,
        Histogram,
        HistogramLogger,
        ImageLogger,
        Logger,
        RowsLogger,
        RunInfo,
        Scheduler,
        Stateful,
        UpdateStep,
    )
    from nnrun.core.state import TrainState
    from nnrun.runs.intervals import bootstrap, wilson
    from nnrun.runs.samples import read_samples
    from nnrun.runs.summary import Summary

# The modules of the names whose import needs torch or rich.
_PLACES = {
    "nnrun.assembly.prediction.predictor": ("Predictor",),
    "nnrun.core.seams.batch": ("Augmentation", "Batch", "Batches", "Mixed", "Mixing"),
    "nnrun.core.seams.callback": ("Callback",),
    "nnrun.core.seams.data": (
        "DataSource",
        "Dataset",
        "Evaluation",
        "Findings",
        "Preprocessing",
        "Split",
        "TensorSpec",
        "Tree",
    ),
    "nnrun.core.seams.export": ("CannotExport", "ExportContext", "Exporter"),
    "nnrun.core.seams.problem": ("Metric", "Output", "Problem", "Sums"),
    "nnrun.core.seams.training": (
        "GraphLogger",
        "Histogram",
        "HistogramLogger",
        "ImageLogger",
        "Logger",
        "RowsLogger",
        "RunInfo",
        "Scheduler",
        "Stateful",
        "UpdateStep",
    ),
    "nnrun.core.state": ("TrainState",),
    "nnrun.base.sample_results": ("SampleResults",),
    "nnrun.runs.intervals": ("bootstrap", "wilson"),
    "nnrun.runs.samples": ("read_samples",),
    "nnrun.runs.summary": ("Summary",),
}

__all__ = [
    # Functions and their results.
    "compose",
    "load",
    "predictor",
    "read_samples",
    "run",
    "Predictor",
    "SampleResults",
    "Summary",
    # Errors; each has its `exit_code`.
    "ArtifactError",
    "ConfigError",
    "DataError",
    "DivergedError",
    "InterruptedRun",
    "NnrunError",
    "ResourceError",
    # Data.
    "Augmentation",
    "DataSource",
    "Dataset",
    "Evaluation",
    "Findings",
    "Mixing",
    "Preprocessing",
    "Split",
    "Targets",
    "TensorSpec",
    "Tree",
    # Training.
    "Batch",
    "Batches",
    "Callback",
    "GraphLogger",
    "Histogram",
    "HistogramLogger",
    "ImageLogger",
    "Logger",
    "Metric",
    "Mixed",
    "Output",
    "Problem",
    "RowsLogger",
    "RunInfo",
    "Scheduler",
    "Stateful",
    "Sums",
    "bootstrap",
    "wilson",
    "Chart",
    "Gallery",
    "Text",
    "Table",
    "TrainState",
    "UpdateStep",
    # Export.
    "CannotExport",
    "ExportContext",
    "Exporter",
]


if not TYPE_CHECKING:  # with it, a type checker would accept every name

    def __getattr__(name: str) -> Any:
        """Import a name that needs torch or rich on first use."""
        for module, names in _PLACES.items():
            if name in names:
                return getattr(import_module(module), name)
        raise AttributeError(f"module 'nnrun.api' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def run(words: str | Iterable[str | os.PathLike[str]] = (), *, quiet: bool = False) -> Summary:
    """Run a command and return its summary, whose attributes are those of summary.json.

    `words` are the words of the command line, such as `["model=cnn", "optimizer.lr=1e-3"]`; a single string is split
    as by a shell. `quiet` prints nothing; run.log is still written. The state of the process is restored.

    Raises a NnrunError where the command would end with an exit code other than 0, and InterruptedRun, a
    KeyboardInterrupt, where Ctrl-C or SIGTERM stops the run, after saving.
    """
    begin()
    with _as_a_command(words) as plain, called_from_python(plain, quiet=quiet or is_switched_on("is_quiet", plain)):
        from nnrun import cli  # noqa: PLC0415 - keeps importing nnrun fast
        from nnrun.tasks.table import perform  # noqa: PLC0415

        composed = cli.compose_line(_sorted(plain))
        if composed.task.not_swept is not None:
            raise ConfigError(f"task={composed.task.name} has no summary to return; use the command nnrun")
        from nnrun.assembly.process import torch_of_its_own  # noqa: PLC0415 - a config error needs no torch

        with stop_request(unanswered_signals()), torch_of_its_own():
            cli.find_modules_beside(composed.own)
            try:
                summary = perform(composed, plain)
            except SystemExit as error:
                raise ConfigError(f"code named by the config exits the process: SystemExit({error.code})") from error
    from nnrun.runs.summary import Summary  # noqa: PLC0415 - see above

    assert isinstance(summary, Summary), "only tasks that a sweep refuses have none"
    return summary


def compose(words: str | Iterable[str | os.PathLike[str]] = ()) -> dict[str, Any]:
    """Return the checked config of these words as plain values; changing the returned copy has no effect.

    Values known only once the data is opened stay references, such as `${data.num_classes}`. Raises ConfigError with
    every mistake found. Checks that need torch, such as those of the parameters of a `_target_`, are made by `run`.
    """
    with _as_a_command(words) as plain:
        from nnrun import cli  # noqa: PLC0415 - see run

        return cli.compose_line(_sorted(plain)).plain()


def predictor(
    path: str | os.PathLike[str], trust: Sequence[str] = (), *, device: str | torch.device = "auto"
) -> Predictor:
    """Return a predictor with the network of a run directory, a checkpoint, exported safetensors or an ONNX file.

    Called with one or many samples, it returns a dict for each: `nnrun.predictor("outputs/latest")("photos")`. `trust`
    names your own modules that a checkpoint may take classes from. An ONNX file runs on the CPU, in a separate process.
    Raises ArtifactError where the file is damaged or refused.
    """
    from pathlib import Path  # noqa: PLC0415 - keeps importing nnrun fast

    from nnrun.assembly.prediction.from_file import open_predictor  # noqa: PLC0415

    return open_predictor(Path(path), _names(trust), device)


def load(path: str | os.PathLike[str], trust: Sequence[str] = ()) -> nn.Module:
    """Return the trained network of a run directory, a checkpoint file or exported safetensors, in eval mode.

    The network has additional attributes: `targets`, which describes its outputs; `class_names`, their names; and
    `preprocessing`, which turns raw samples (uint8 `(N, C, H, W)` for images) into the network's float input. A
    multi-label network also has `thresholds`, the probability from which each label is predicted; a regression network
    returns values in the data's units. `trust` names your own modules that the checkpoint may take classes from.
    Raises ArtifactError where the checkpoint is damaged or refused.
    """
    from pathlib import Path  # noqa: PLC0415 - keeps importing nnrun fast

    from nnrun.assembly.loaded import load_network  # noqa: PLC0415

    return load_network(Path(path), _names(trust))


def _names(trust: Sequence[str]) -> Sequence[str]:
    """Return names of modules as a list; a single one may be given as a string."""
    return [trust] if isinstance(trust, str) else trust


# Torch's generators, signal handlers and the like belong to the process: calls from several threads take turns.
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def _as_a_command(words: str | Iterable[str | os.PathLike[str]]) -> Iterator[list[str]]:
    """Give the block the process state that a command starts with, except for imports; restore it afterwards.

    Yields the words as strings. Errors get the messages that the command would print.
    """
    try:
        plain = shlex.split(words) if isinstance(words, str) else list(words)
    except ValueError as error:
        raise ConfigError(f"{words!r} cannot be split into words as by a shell: {error}") from error
    if wrong := [word for word in plain if not isinstance(word, str | os.PathLike)]:
        raise ConfigError(f"{wrong[0]!r} is not a string or a path; write ['model=cnn', 'optimizer.lr=1e-3']")
    plain = list(map(str, plain))
    with _ONE_AT_A_TIME, kept_surroundings(), ExitStack() as hydra:
        from nnrun.config.hydra_state import hydra_of_its_own  # noqa: PLC0415 - an import may draw a random number

        hydra.enter_context(hydra_of_its_own())
        try:
            yield plain
        except (NnrunError, InterruptedRun) as error:
            error.reword(lambda message: hide_known(message, secrets_in_words(plain)))
            raise
        except Exception as error:
            if said := of_the_system(error):
                raise said from error
            raise


def _sorted(words: Sequence[str]) -> CommandLine:
    """Sort the words of a command line; raise ConfigError unless they ask for exactly one run."""
    from nnrun.config.command_line import sort_words  # noqa: PLC0415 - see run
    from nnrun.tasks.table import command_called  # noqa: PLC0415

    if is_switched_on("prints_json", words):
        raise ConfigError("--json has no effect here; nnrun.run returns the summary: use its to_json()")
    if printing := [word for word in words if word in ("--help", "-h", "--version")]:
        raise ConfigError(f"{printing[0]} only prints; use the command nnrun")
    line = sort_words(words)
    if command_called(line.overrides):
        raise ConfigError(f"nnrun {line.overrides[0]} has no summary to return; use the command nnrun")
    if line.is_sweep:
        raise ConfigError("a sweep has no single summary: call nnrun.run for each of its jobs, or use nnrun -m")
    if line.is_hydra_verb:
        raise ConfigError(f"{line.hydra[0]} only prints; nnrun.compose returns the config")
    return line
