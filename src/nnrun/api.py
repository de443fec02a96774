"""What a program calls and builds on: functions, base classes and Protocols of the seams, errors.

A name that changes here goes on under its old one for two minor versions, and warns (`nnrun.base.deprecated`).
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
from nnrun.base.invocation import called_from_python
from nnrun.base.secrets import hide_known, secrets_in_words
from nnrun.base.shown import Chart, Gallery, Table
from nnrun.base.signals import stop_request
from nnrun.base.stopping import unanswered_signals
from nnrun.base.surroundings import kept_surroundings
from nnrun.base.targets import Targets
from nnrun.config.flags import is_switched_on

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nnrun.assembly.prediction.predictor import Predictor
    from nnrun.config.command_line import CommandLine
    from nnrun.core.seams.batch import Augmentation, Batch, Batches, Mixed, Mixing
    from nnrun.core.seams.callback import Callback
    from nnrun.core.seams.data import Dataset, DataSource, Evaluation, Findings, Preprocessing, Split, TensorSpec, Tree
    from nnrun.core.seams.export import CannotExport, ExportContext, Exporter
    from nnrun.core.seams.problem import Metric, Output, Problem, Sums
    from nnrun.core.seams.training import ImageLogger, Logger, RunInfo, Scheduler, Stateful, UpdateStep
    from nnrun.core.state import TrainState
    from nnrun.runs.samples import SampleResults, read_samples
    from nnrun.runs.summary import Summary

# Where the names are that need torch, or rich.
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
    "nnrun.core.seams.training": ("ImageLogger", "Logger", "RunInfo", "Scheduler", "Stateful", "UpdateStep"),
    "nnrun.core.state": ("TrainState",),
    "nnrun.runs.samples": ("SampleResults", "read_samples"),
    "nnrun.runs.summary": ("Summary",),
}

__all__ = [
    # Functions, and what they give.
    "compose",
    "load",
    "predictor",
    "read_samples",
    "run",
    "Predictor",
    "SampleResults",
    "Summary",
    # What is raised; each has its `exit_code`.
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
    "ImageLogger",
    "Logger",
    "Metric",
    "Mixed",
    "Output",
    "Problem",
    "RunInfo",
    "Scheduler",
    "Stateful",
    "Sums",
    "Chart",
    "Gallery",
    "Table",
    "TrainState",
    "UpdateStep",
    # Export.
    "CannotExport",
    "ExportContext",
    "Exporter",
]


if not TYPE_CHECKING:  # a type checker would take every name for one that there is

    def __getattr__(name: str) -> Any:
        """Import what needs torch, or rich, when it is asked for."""
        for module, names in _PLACES.items():
            if name in names:
                return getattr(import_module(module), name)
        raise AttributeError(f"module 'nnrun.api' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def run(words: str | Iterable[str | os.PathLike[str]] = (), *, quiet: bool = False) -> Summary:
    """Do what the command with these words does, and return the summary: its attributes are those of summary.json.

    `words` are those of the command line, `["model=cnn", "optimizer.lr=1e-3"]`; a single text is split as a shell
    splits it. `quiet` prints nothing; run.log has it all the same. The process is left as it was.

    Raises a NnrunError where the command ends with an exit code other than 0, and InterruptedRun, a KeyboardInterrupt,
    where Ctrl-C or a SIGTERM stops it, after it has saved.
    """
    with _as_a_command(words) as plain, called_from_python(plain, quiet=quiet or is_switched_on("is_quiet", plain)):
        from nnrun import cli  # noqa: PLC0415 - what composes and runs is imported when that is asked for
        from nnrun.tasks.table import perform  # noqa: PLC0415

        composed = cli.compose_line(_sorted(plain))
        if composed.task.not_swept is not None:
            raise ConfigError(f"task={composed.task.name} has no summary to return; use the command nnrun")
        from nnrun.assembly.process import torch_of_its_own  # noqa: PLC0415 - a wrong config imports no torch

        with stop_request(unanswered_signals()), torch_of_its_own():
            cli.find_modules_beside(composed.own)
            try:
                summary = perform(composed, plain)
            except SystemExit as error:
                raise ConfigError(f"code that the config names leaves the process: SystemExit({error.code})") from error
    from nnrun.runs.summary import Summary  # noqa: PLC0415 - see above

    assert isinstance(summary, Summary), "only a task that a sweep refuses has none"
    return summary


def compose(words: str | Iterable[str | os.PathLike[str]] = ()) -> dict[str, Any]:
    """Return the config that these words ask for, checked, as plain values; a copy, which nothing reads.

    What is known only once the data is open stays a reference, such as `${data.num_classes}`. Raises ConfigError with
    all that is wrong; what needs torch to be checked, such as the parameters of a `_target_`, `run` checks.
    """
    with _as_a_command(words) as plain:
        from nnrun import cli  # noqa: PLC0415 - see run

        return cli.compose_line(_sorted(plain)).plain()


def predictor(
    path: str | os.PathLike[str], trust: Sequence[str] = (), *, device: str | torch.device = "auto"
) -> Predictor:
    """Return a predictor with the network of a run directory, a checkpoint, exported safetensors or an ONNX file.

    Called with samples, one or many, it gives a dict for each: `nnrun.predictor("outputs/latest")("photos")`. `trust`
    names modules of your own that a checkpoint may take classes from. An ONNX file is run on the CPU, in a process of
    its own. Raises ArtifactError where the file is damaged or refused.
    """
    from pathlib import Path  # noqa: PLC0415 - nnrun is imported in a moment

    from nnrun.assembly.prediction.from_file import open_predictor  # noqa: PLC0415

    return open_predictor(Path(path), _names(trust), device)


def load(path: str | os.PathLike[str], trust: Sequence[str] = ()) -> nn.Module:
    """Return the trained network of a run directory, a checkpoint file or exported safetensors, in eval mode.

    The network has attributes besides its own: `targets`, what it has learned to give, `class_names`, their names, and
    `preprocessing`, which turns raw samples, uint8 `(N, C, H, W)` for images, into the float input of the network. One
    that learned several labels has `thresholds` too, the probability from which on each is given; one that learned
    values gives them in the data's units. `trust` names modules of your own that the checkpoint may take its class
    from. Raises ArtifactError where the checkpoint is damaged or refused.
    """
    from pathlib import Path  # noqa: PLC0415 - nnrun is imported in a moment

    from nnrun.assembly.loaded import load_network  # noqa: PLC0415

    return load_network(Path(path), _names(trust))


def _names(trust: Sequence[str]) -> Sequence[str]:
    """Return names of modules as a list; a single one may be given as a text."""
    return [trust] if isinstance(trust, str) else trust


# Torch's generators, signals and the like are the process's: a call waits until that of another thread is done.
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def _as_a_command(words: str | Iterable[str | os.PathLike[str]]) -> Iterator[list[str]]:
    """Let the block find the process as a command would, but for what the program has imported; put it back behind it.

    Yields the words as texts. What is raised is put in words as a command does.
    """
    try:
        plain = shlex.split(words) if isinstance(words, str) else list(words)
    except ValueError as error:
        raise ConfigError(f"{words!r} cannot be split as a shell splits it: {error}") from error
    if wrong := [word for word in plain if not isinstance(word, str | os.PathLike)]:
        raise ConfigError(f"{wrong[0]!r} is no word of a command line; write ['model=cnn', 'optimizer.lr=1e-3']")
    plain = list(map(str, plain))
    with _ONE_AT_A_TIME, kept_surroundings(), ExitStack() as hydra:
        from nnrun.config.hydra_state import hydra_of_its_own  # noqa: PLC0415 - even an import may draw a number

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
    """Return the words of a command line, sorted; raise ConfigError where they ask for more than one run, or none."""
    from nnrun.config.command_line import sort_words  # noqa: PLC0415 - see run
    from nnrun.tasks.table import command_called  # noqa: PLC0415

    if is_switched_on("prints_json", words):
        raise ConfigError("--json prints the summary, which nnrun.run returns: its to_json() is the same")
    if printing := [word for word in words if word in ("--help", "-h", "--version")]:
        raise ConfigError(f"{printing[0]} prints, and runs nothing; use the command nnrun")
    line = sort_words(words)
    if command_called(line.overrides):
        raise ConfigError(f"nnrun {line.overrides[0]} runs nothing that has a summary; use the command nnrun")
    if line.is_sweep:
        raise ConfigError("a sweep has no single summary: call nnrun.run for each of its jobs, or use nnrun -m")
    if line.is_hydra_verb:
        raise ConfigError(f"{line.hydra[0]} prints, and runs nothing; nnrun.compose gives the config")
    return line
