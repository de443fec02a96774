"""`task=replay`: train up to a step from the nearest checkpoint before it, and examine that step."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnrun.assembly.data.evaluation_data import open_for
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.data.overlap import how_it_differs
from nnrun.assembly.initial_weights import start_from, take_up
from nnrun.assembly.job import Job
from nnrun.assembly.objective import make_objective
from nnrun.assembly.preflight import prepare
from nnrun.assembly.training import Training, make_step, make_training
from nnrun.assembly.transfer import keep_features
from nnrun.base.errors import ArtifactError, ConfigError, DataError
from nnrun.base.files import write_json
from nnrun.base.shown import counted
from nnrun.checkpoints.locate import Located
from nnrun.checkpoints.manifest import FOLDER_NAME, open_verified, read_manifest
from nnrun.checkpoints.read import read_run
from nnrun.checkpoints.saved_run import SavedRun
from nnrun.config.composed import Composed
from nnrun.config.from_checkpoint import as_meant_then
from nnrun.config.source import start_of
from nnrun.core.loop import fit
from nnrun.core.randomness import seed_step
from nnrun.core.seams.batch import Batch
from nnrun.core.step import Step
from nnrun.core.work import Work
from nnrun.runs.console import Console
from nnrun.runs.summary import Summary
from nnrun.tasks.replay.examine import run_in_fp32
from nnrun.tasks.replay.record import ReplaySettings
from nnrun.tasks.replay.show import Replayed, show
from nnrun.tasks.session import Session, fit_to_data, open_session
from nnrun.tasks.train.fit import say_and_compile
from nnrun.tasks.train.odd_steps import indices_of, read_odd_steps

# Of replay.json.
SCHEMA = 1


class _Arrived(Exception):
    """The step was reached and examined."""

    def __init__(self, replayed: Replayed) -> None:
        super().__init__()
        self.replayed = replayed


def replay(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Summary:
    """Run a step of a training again, in a directory of its own; return the summary.

    Raises ConfigError for a step that the training did not make, ArtifactError where no checkpoint leads to it,
    DataError where the data has changed.
    """
    job = prepare(composed)
    saved = composed.evaluated
    if not isinstance(saved, SavedRun) or saved.located.run is None:
        raise ArtifactError(
            f"{saved.path if saved else composed.artifact} is not in a run directory: name the run with ckpt="
        )
    wanted = _wanted(job, saved.located.run)
    console = Console()
    with open_session(job, words, directory, console) as session:
        data = open_for(job)
        job = fit_to_data(job, data, session)
        if data.fingerprint != saved.data_fingerprint:
            raise DataError(
                f"the data is not the same as in {saved.run} ({how_it_differs(saved, data)}), so its steps cannot be "
                "repeated; set data.root= to the folder with that data"
            )
        if (size := saved.config["trainer"].get("devices", 1)) > 1:
            console.note(f"the run trained in {size} processes; here one repeats its steps, with draws of its own")
        replayed = _run_up_to(wanted, job, data, saved.run, session)
        if replayed.found.where == "weights" and wanted > 1 and job.settings_of(ReplaySettings).step is None:
            console.say(f"the weights are not finite before step {wanted:,} already: step {wanted - 1:,} made them so")
            replayed = _run_up_to(wanted - 1, job, data, saved.run, session)
        at = replayed.place.step
        recorded = next((row for row in read_odd_steps(saved.run) if row["step"] == at), None)
        write_json(session.out.path / "replay.json", _as_json(replayed, data, recorded), SCHEMA)
        show(replayed, data, job, recorded, console)
        summary = summarize(replayed, job, session)
        session.report(summary)
    return summary


def _wanted(job: Job, run: Path) -> int:
    """Return the step to run again: the one named, or the first whose loss was odd."""
    step = job.settings_of(ReplaySettings).step
    if step is not None:
        return step
    odd = read_odd_steps(run)
    if not odd:
        raise ConfigError(f"{run} recorded no NaN and no spike of the loss; name a step with replay.step=")
    first = next((row for row in odd if row.get("why") != "spike"), odd[0])
    return int(first["step"])


def _checkpoint_before(step: int, run: Path) -> SavedRun | None:
    """Return the newest intact checkpoint from before a step; None if the run must be started anew."""
    folder = run / FOLDER_NAME
    for entry in sorted(read_manifest(folder).files, key=lambda entry: -entry.step):
        if entry.step < step:
            try:
                located = Located(open_verified(folder / entry.name, entry), run)
            except ArtifactError:
                continue
            saved = as_meant_then(read_run(located))
            assert isinstance(saved, SavedRun)
            return saved
    return None


def _run_up_to(wanted: int, job: Job, data: Opened, run: Path, session: Session) -> Replayed:
    """Train from the nearest checkpoint, or from the start, up to a step, and examine that."""
    start, console = _checkpoint_before(wanted, run), session.console
    objective = make_objective(job, data)
    training = make_training(job, data, objective)
    state = training.state
    if start is not None:
        take_up(start, state, training.callbacks)
        origin = f"from {start.path.name}"
    else:
        _start_anew(job, training, data, run, console)
        origin = "from the start"
    ahead = wanted - 1 - state.progress.step
    console.say(f"replaying step {wanted:,} of {run}: training {counted(ahead, 'step')} {origin} first")
    if job.settings.trainer.compile is not False:
        say_and_compile(training, console)
    step = make_step(job.settings.trainer, state, objective, list(training.callbacks.values()))
    work = Work(
        objective, _UpTo(wanted, step, training), training.train, training.valid, list(training.callbacks.values()),
        session.stop.poll,
    )  # fmt: skip
    work, _ = keep_features(training.transfer, state, work, training.plan, console)
    with session.stop.deferred():
        try:
            fit(state, work, training.plan)
        except _Arrived as arrived:
            return arrived.replayed
    raise ConfigError(f"replay.step={wanted} was never made: {run} ends after step {state.progress.step:,}")


def _start_anew(job: Job, training: Training, data: Opened, run: Path, console: Console) -> None:
    """Let a training begin as the run did; raise ArtifactError where its initial weights are not at hand."""
    if job.settings.transfer.weights is not None:
        raise ArtifactError(
            f"{run} has no checkpoint from before that step, and it started from transfer.weights; train it again with "
            "trainer.checkpoint_every_steps= and trainer.keep_last="
        )
    source = job.composed.source
    assert source is not None
    begun = replace(source, start=start_of(run))
    start_from(replace(job, composed=replace(job.composed, source=begun)), training.state, console, data.targets)
    training.state.set_training()


class _UpTo:
    """Makes the updates before a step as they were made, then examines that step and ends the training."""

    def __init__(self, wanted: int, step: Step, training: Training) -> None:
        self._wanted, self._step, self._training = wanted, step, training

    def __call__(self, batches: Iterator[Batch], indices: range, num_samples: int) -> None:
        """Make an update, or examine it."""
        state = self._step.state
        if state.progress.step + 1 < self._wanted:
            self._step(batches, indices, num_samples)
            return
        before = copy.deepcopy(state.network.state_dict())
        loss = 0.0
        for index in indices:
            seed_step(state.device, state.seed, state.progress.epoch, state.world.stream(index))
            _, _, share = self._step.gradients(next(batches), num_samples)
            loss += float(share)
        state.network.load_state_dict(before)
        # The raw samples: a frozen backbone's features may have been cached.
        anew = self._training.train.epoch(state.progress.epoch, indices.start)
        found = run_in_fp32(self._step, [batch for _, batch in zip(indices, anew, strict=False)], indices, num_samples)
        positions = list(indices_of(self._training, state.progress.epoch, indices))
        raise _Arrived(Replayed(state.progress.place, loss, found, positions))


def _as_json(replayed: Replayed, data: Opened, recorded: dict[str, Any] | None) -> dict[str, Any]:
    """Return the findings as plain values."""
    found = replayed.found
    return {
        **found.to_json(),
        "step": replayed.place.step,
        "epoch": replayed.place.epoch,
        "batch": replayed.place.batch,
        "loss": _number(replayed.loss),
        "recorded_loss": recorded["loss"] if recorded else None,
        "loss_fp32": _number(found.loss),
        "losses": [_number(loss) for loss in found.losses],
        "indices": replayed.indices,
        "names": [data.train.names[index] for index in replayed.indices] if data.train.names is not None else None,
    }


def _number(value: float) -> float | str:
    """Return a number as JSON can hold it."""
    return value if math.isfinite(value) else str(value)


def summarize(replayed: Replayed, job: Job, session: Session) -> Summary:
    """Return the summary, with the losses of the step as its metrics."""
    found = replayed.found
    kept = {"where": found.where, "layer": found.layer, "begins": found.begins, "step": replayed.place.step}
    return Summary(
        task=job.task.name,
        state="finished",
        run=str(session.out.path),
        metrics={"replay/loss": replayed.loss, "replay/loss_fp32": found.loss},
        monitor=job.monitor,
        mode=job.mode,
        details={"replay": kept},
        wall_seconds=session.out.seconds(),
    )
