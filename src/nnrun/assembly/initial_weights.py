"""Where a training begins: at the checkpoint that is resumed, or with weights from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from nnrun.assembly.heads import Head, class_names_beside
from nnrun.assembly.job import Job
from nnrun.assembly.state_check import Unlike, fitted
from nnrun.base.errors import CONTROL, ArtifactError
from nnrun.checkpoints.folder import load_payload, load_weights
from nnrun.checkpoints.foreign_weights import match
from nnrun.core.nonfinite import are_finite
from nnrun.core.seams.training import Stateful
from nnrun.core.state import TrainState
from nnrun.runs.console import Console


def start_from(
    job: Job,
    state: TrainState,
    console: Console,
    class_names: Sequence[str],
    callbacks: Sequence[Stateful] = (),
) -> None:
    """Take up the checkpoint that is resumed, or the weights that the run starts from.

    Weights of a network for other classes come without its head; the new one stays as it was drawn.
    """
    if job.resume is not None:
        assert job.composed.checkpoint is not None
        path = job.composed.checkpoint.path
        payload = load_payload(path)
        try:
            training = fitted(state, payload["model"], payload["training"], callbacks)
            state.load_state_dict(payload["model"], training, callbacks)
        except Unlike as error:
            raise ArtifactError(f"{path} does not fit this run: {CONTROL.sub('?', str(error))}") from error
        except Exception as error:
            # Of the right hash and of the wrong content: not written by a run of this config.
            reason = f"{type(error).__name__}: {str(error)[:300]}"
            raise ArtifactError(f"{path} does not fit this run: {reason}") from error
        if not are_finite(state.network.state_dict().values()):
            raise ArtifactError(f"{path} holds NaN or infinite weights")
    elif job.settings.init_from is not None:
        assert job.composed.checkpoint is not None
        path = job.composed.checkpoint.path
        if job.composed.weights_alone:
            weights, notes = match(path, state.network)
            theirs = class_names_beside(path)
            for note in notes:
                console.note(note)
        else:
            payload = load_payload(path)
            weights, theirs = payload["model"], payload["class_names"]
        replaced = Head(job.settings.transfer.head, state.freezing, class_names).fit(weights, state.network, theirs)
        load_weights(state.network, weights, path)
        if state.ema:
            load_weights(state.ema.network, weights, path)
        for note in replaced:
            console.say(f"starting from {path}: {note}; all else is loaded")
