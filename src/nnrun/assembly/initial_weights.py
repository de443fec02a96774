"""Load the initial state of a training: a checkpoint to resume, or weights to start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnrun.assembly.heads import Head
from nnrun.assembly.job import Job
from nnrun.assembly.state_check import Unlike, fitted
from nnrun.base.errors import CONTROL, ArtifactError, shown
from nnrun.base.targets import Targets
from nnrun.checkpoints.folder import load_weights
from nnrun.checkpoints.foreign_weights import weights_for
from nnrun.checkpoints.saved_run import SavedNetwork, SavedRun, SavedWeights
from nnrun.checkpoints.tensors import read_tensors
from nnrun.config.interpolation import KNOWN_LATE
from nnrun.core.nonfinite import are_finite
from nnrun.core.seams.training import Stateful
from nnrun.core.state import TrainState
from nnrun.runs.console import Console


def start_from(
    job: Job,
    state: TrainState,
    console: Console,
    targets: Targets,
    callbacks: Mapping[str, Stateful] | None = None,
) -> None:
    """Load the checkpoint that is resumed, or the weights that the run starts from.

    Weights of a network for other classes are loaded without its head, which keeps its random initialization.
    """
    if job.composed.resumed is not None:
        take_up(job.composed.resumed, state, callbacks or {})
    elif job.composed.start is not None:
        start = job.composed.start
        weights, notes = weights_for(state.network, start)
        for note in notes:
            console.note(note)
        head = Head(job.settings.transfer.head, state.freezing, targets)
        replaced = head.fit(weights, state.network, start.targets)
        try:
            load_weights(state.network, weights, start.path)
        except ArtifactError as error:
            if built := built_otherwise(start, job.settings.model):
                raise ArtifactError(f"{error}; its network was built with {built}; use the same") from error
            raise
        if state.ema:
            load_weights(state.ema.network, weights, start.path)
        for note in replaced:
            console.say(f"starting from {start.path}: {note}; loaded all other weights")
        start.file.close()


def built_otherwise(saved: SavedWeights | None, model: Mapping[str, Any]) -> str:
    """Return the settings of the network that weights were trained in, where `model`, of the same class, differs."""
    theirs = saved.config.get("model") if isinstance(saved, SavedNetwork) else None
    if not isinstance(theirs, Mapping) or theirs.get("_target_") != model.get("_target_"):
        return ""
    named = [name for name in model if name in theirs and name not in KNOWN_LATE and theirs[name] != model[name]]
    return ", ".join(f"model.{name}={shown(theirs[name])}" for name in named)


def take_up(saved: SavedRun, state: TrainState, callbacks: Mapping[str, Stateful]) -> None:
    """Load the state of a training; raise ArtifactError where it does not fit this one."""
    described = {"model": saved.weights, "training": saved.training}
    model, training = read_tensors(saved.file, described).values()
    try:
        training = fitted(state, model, training, callbacks)
        state.load_state_dict(model, training)
    except Unlike as error:
        raise ArtifactError(f"{saved.path} does not fit this run: {CONTROL.sub('?', str(error))}") from error
    except Exception as error:
        # The hash is right and the content wrong: not written by a run of this config.
        reason = f"{type(error).__name__}: {str(error)[:300]}"
        raise ArtifactError(f"{saved.path} does not fit this run: {reason}") from error
    if not are_finite(state.network.state_dict().values()):
        raise ArtifactError(f"{saved.path} holds NaN or infinite weights")
    for name, callback_state in training["callbacks"].items():
        callbacks[name].load_state_dict(callback_state)
    # Close it, since the run will delete old checkpoints.
    saved.file.close()
