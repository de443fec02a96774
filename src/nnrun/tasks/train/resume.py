"""What a resumed run may change, and what must still be as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.job import Job
from nnrun.base.errors import ArtifactError, ConfigError, DataError
from nnrun.base.files import read_json, read_record
from nnrun.base.secrets import redact
from nnrun.checkpoints.manifest import read_manifest
from nnrun.checkpoints.saved_run import SavedRun
from nnrun.config.interpolation import known_late
from nnrun.config.schema import RUN_KEYS
from nnrun.config.tree import value_at
from nnrun.runs.console import Console
from nnrun.runs.summary import Summary
from nnrun.tasks.session import Session

# Settings that change only what comes after the checkpoint, or nothing at all.
FREE = (
    "trainer.epochs",
    "trainer.device",
    "trainer.progress",
    "trainer.keep_last",
    "trainer.checkpoint_every_steps",
    "trainer.nonfinite",
    "trainer.max_nonfinite",
    "early_stopping.patience",
    "data.root",
    "data.download",
    "data.dataset.root",
    "data.dataset.download",
    "data.residency",
    "data.num_workers",
    "export",
    "logger",
)
# Schedules whose every step depends on the run's length: with another length, the past would have been another.
_LENGTH_PARAMETER = "total_steps"
# What stands where a checkpoint has no value: null is one.
_ABSENT = object()


def finished_summary(job: Job, saved: SavedRun, console: Console) -> Summary | None:
    """Return the summary of a run that is finished and is not asked to go on, after saying so."""
    at, run = saved.progress, saved.run
    if job.settings.trainer.epochs > saved.config["trainer"]["epochs"] and not at["stop_reason"]:
        return None
    if (read_record(run / "status.json") or {}).get("state") != "finished":
        return None
    try:
        summary = Summary.from_json(read_json(run / "summary.json"))
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    for note in saved.located.notes:
        console.note(note)
    idle = [item.key for item in job.composed.typed if item.key not in ("resume", "trust", "task")]
    if idle:
        raise ConfigError(
            f"{', '.join(idle)} would have no effect: {run} is finished after {at['epoch']} epochs"
            + (f", because {at['stop_reason']}" if at["stop_reason"] else "")
            + f"; nnrun ckpt={run} evaluates or exports it, init_from={run} starts a new run"
        )
    why = f" ({at['stop_reason']})" if at["stop_reason"] else "; a larger trainer.epochs would go on"
    console.say(f"{run} is finished after {at['epoch']} epochs{why}: nothing to do")
    return summary


def check_config(job: Job, saved: SavedRun) -> None:
    """Raise ConfigError with a diff where a resumed run's config would have changed its past."""
    found = [line for key, line in changes(job, saved) if not _is_free(key, job)] + _changes_of_the_past(job, saved)
    if found:
        raise ConfigError(
            f"{saved.run} cannot resume with settings that cannot change on resume; "
            f"leave it as it was, or start a new run with init_from={saved.run}:",
            *found,
        )


def _is_free(key: str, job: Job) -> bool:
    """Return whether a setting may change: a callback may come and go, but not be another than it was.

    Threads change the bits that a CPU computes, and no others.
    """
    if key == "trainer.threads":
        return job.device.type != "cpu"
    return key in FREE or (key.startswith("callback.") and key.count(".") == 1)


def _changes_of_the_past(job: Job, saved: SavedRun) -> list[str]:
    """Return the changes of settings that are free only one way, or only under some conditions."""
    before, at, trainer = saved.config, saved.progress, job.settings.trainer
    epochs, stopping = before["trainer"]["epochs"], job.settings.early_stopping
    found = []
    if trainer.epochs != epochs and _LENGTH_PARAMETER in (job.settings.scheduler or {}):
        found.append(f"trainer.epochs: {epochs} -> {trainer.epochs}, under a schedule over the whole run")
    elif trainer.epochs < at["epoch"] + (at["batch"] > 0):
        found.append(f"trainer.epochs: {epochs} -> {trainer.epochs}, and {at['epoch']} epochs are done")
    if stopping and before["early_stopping"] and stopping.patience < before["early_stopping"]["patience"]:
        patience = before["early_stopping"]["patience"]
        found.append(f"early_stopping.patience: {patience} -> {stopping.patience}, with which it may have stopped")
    skipped = saved.training.get("watch", {}).get("skipped", 0)
    if trainer.nonfinite == "stop" and skipped:
        found.append(f"trainer.nonfinite: 'skip' -> 'stop', and {skipped} updates were left out")
    return found


def going_on(job: Job) -> dict[str, Any] | None:
    """Return from where a resumed run goes on, and every setting that it changes, as status.json records them."""
    saved = job.composed.resumed
    if saved is None:
        return None
    return {"step": saved.progress["step"], "changes": [line for _, line in changes(job, saved)]}


def check_newest(saved: SavedRun) -> None:
    """Raise ArtifactError where a run, locked by now, has gone on in another process since its checkpoint was read."""
    fell_back = bool(saved.located.notes)
    if read_manifest(saved.path.parent).last != saved.path.name and not fell_back:
        raise ArtifactError(
            f"{saved.run} has gone on since its checkpoint was read, in another process; resume it again"
        )


def check_data(job: Job, saved: SavedRun, data: Opened, session: Session) -> None:
    """Raise DataError where the data is another than that of the run that is resumed; say where the run goes on."""
    if data.fingerprint != saved.data_fingerprint:
        raise DataError(
            f"the data is not the same as when {saved.run} was interrupted (its fingerprint differs); "
            "name the folder that holds it with data.root="
        )
    at = saved.progress
    session.console.say(f"going on from step {at['step']:,}, in epoch {at['epoch'] + 1}")
    before, wanted = saved.config.get("callback") or {}, job.settings.callback
    for name in wanted.keys() - before.keys():
        session.console.note(f"callback.{name} is new to this run: it begins at step {at['step']:,} without a state")
    for name in before.keys() - wanted.keys():
        session.console.note(f"callback.{name} is left out from step {at['step']:,} on; its state is dropped")
    missing = at["num_rows"] - session.out.count_rows()
    if missing > 0:
        session.console.note(f"{missing} of {at['num_rows']} rows are missing from metrics.jsonl, and stay so")


def changes(job: Job, saved: SavedRun) -> list[tuple[str, str]]:
    """Return the settings in which a run differs from a checkpoint's, each with `key: old -> new`."""
    before = saved.config
    tree = job.tree(known_late(before["data"]["in_shape"], saved.targets, before["data"].get("facts")))
    wanted = {key: value for key, value in tree.items() if key in RUN_KEYS}
    # A secret is not in the checkpoint: it may be, and may have to be, typed again.
    sections: dict[str, Any] = {name: {} for name, value in wanted.items() if isinstance(value, Mapping)}
    found = differences(sections | dict(before), redact(wanted, known=job.composed.secrets))
    # A setting that did not exist when the checkpoint was saved has its default.
    return [
        (key, line) for key, line in found if value_at(before, key, _ABSENT) is not _ABSENT or job.composed.named(key)
    ]


def differences(saved: Any, wanted: Any, key: str = "") -> list[tuple[str, str]]:
    """Return the key of each setting that differs, with `key: old -> new`; whole sections of FREE are one setting."""
    if isinstance(saved, Mapping) and isinstance(wanted, Mapping) and key not in FREE:
        names = dict.fromkeys([*saved, *wanted])
        return [
            change
            for name in names
            for change in differences(saved.get(name), wanted.get(name), f"{key}.{name}" if key else str(name))
        ]
    # What has nothing in it is like what did not exist when the checkpoint was saved.
    if wanted in (saved, "auto") or (saved is None and wanted == {}):
        return []
    return [(key, f"{key}: {saved!r} -> {wanted!r}")]
