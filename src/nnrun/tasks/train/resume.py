"""What a resumed run may change, and what must stay the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.data.overlap import how_it_differs
from nnrun.assembly.job import Job
from nnrun.base.errors import ArtifactError, ConfigError, DataError
from nnrun.base.files import read_json, read_record
from nnrun.base.secrets import redact
from nnrun.base.shown import counted
from nnrun.checkpoints.manifest import read_manifest
from nnrun.checkpoints.saved_run import SavedRun
from nnrun.config.interpolation import known_late
from nnrun.config.schema import RUN_KEYS
from nnrun.config.tree import value_at
from nnrun.runs.console import Console
from nnrun.runs.summary import Summary
from nnrun.tasks.session import Session

# Settings that affect only what comes after the checkpoint, or no results at all.
FREE = (
    "trainer.epochs",
    "trainer.test",
    "trainer.device",
    "trainer.devices",
    "trainer.strategy",
    "trainer.max_restarts",
    "trainer.progress",
    "trainer.keep_last",
    "trainer.checkpoint_every_steps",
    "trainer.nonfinite",
    "trainer.max_nonfinite",
    "trainer.watch",
    "trainer.watch_every_steps",
    "trainer.profile",
    "early_stopping.patience",
    "data.root",
    "data.download",
    "data.dataset.root",
    "data.dataset.download",
    "data.residency",
    "data.num_workers",
    "export",
    "logger",
    "report",
)
# Every step of a schedule with this parameter depends on the run's length, also those already done.
_LENGTH_PARAMETER = "total_steps"
# Marks a value that a checkpoint lacks; null is a value.
_ABSENT = object()


def finished_summary(job: Job, saved: SavedRun, console: Console) -> Summary | None:
    """Return the summary of a run that is finished and has nothing left to train, after saying so; else None."""
    at, run = saved.progress, saved.run
    if job.settings.trainer.epochs > saved.config["trainer"]["epochs"] and not at["stop_reason"]:
        return None
    if (read_record(run / "status.json") or {}).get("state") != "finished":
        return None
    if job.settings.trainer.test and not saved.config["trainer"]["test"] and not _is_tested(run):
        return None
    try:
        summary = Summary.from_json(read_json(run / "summary.json"))
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    for note in saved.located.notes:
        console.note(note)
    idle = [item.key for item in job.composed.typed if item.key not in ("resume", "trust", "task", "trainer.test")]
    if idle:
        raise ConfigError(
            f"{', '.join(idle)} would have no effect: {run} is finished after {counted(at['epoch'], 'epoch')}"
            + (f", because {at['stop_reason']}" if at["stop_reason"] else "")
            + f"; nnrun ckpt={run} evaluates or exports it, init_from={run} starts a new run"
        )
    why = f" ({at['stop_reason']})" if at["stop_reason"] else "; set a larger trainer.epochs to continue"
    console.say(f"{run} is finished after {counted(at['epoch'], 'epoch')}{why}: nothing to do")
    return summary


def _is_tested(run: Path) -> bool:
    """Return whether the summary of a run has metrics of the test split."""
    metrics = (read_record(run / "summary.json") or {}).get("metrics")
    return isinstance(metrics, Mapping) and any(str(name).startswith("test/") for name in metrics)


def check_config(job: Job, saved: SavedRun) -> None:
    """Raise ConfigError, with a diff, if a resumed run has settings that cannot change."""
    found = [line for key, line in changes(job, saved) if not _is_free(key, job)] + _changes_of_the_past(job, saved)
    if found:
        raise ConfigError(
            f"these settings of {saved.run} cannot change on resume; "
            f"leave them as they were, or start a new run with init_from={saved.run}:",
            *found,
        )


def _is_free(key: str, job: Job) -> bool:
    """Return whether a setting may change: callbacks may be added and removed, but their settings may not change.

    The number of threads changes the bits of CPU results only.
    """
    if key == "trainer.threads":
        return job.device.type != "cpu"
    return key in FREE or (key.startswith("callback.") and key.count(".") == 1)


def _changes_of_the_past(job: Job, saved: SavedRun) -> list[str]:
    """Return the forbidden changes of settings that may change in one direction only, or under some conditions."""
    before, at, trainer = saved.config, saved.progress, job.settings.trainer
    epochs, stopping = before["trainer"]["epochs"], job.settings.early_stopping
    found = []
    if trainer.epochs != epochs and _LENGTH_PARAMETER in (job.settings.scheduler or {}):
        found.append(f"trainer.epochs: {epochs} -> {trainer.epochs}, but the schedule spans the whole run")
    elif trainer.epochs < at["epoch"] + (at["batch"] > 0):
        found.append(f"trainer.epochs: {epochs} -> {trainer.epochs}, after {counted(at['epoch'], 'epoch')}")
    if stopping and before["early_stopping"] and stopping.patience < before["early_stopping"]["patience"]:
        patience = before["early_stopping"]["patience"]
        found.append(f"early_stopping.patience: {patience} -> {stopping.patience}, with which it might have stopped")
    skipped = saved.training.get("watch", {}).get("skipped", 0)
    if trainer.nonfinite == "stop" and skipped:
        found.append(f"trainer.nonfinite: 'skip' -> 'stop', after {counted(skipped, 'skipped update')}")
    return found


def going_on(job: Job) -> dict[str, Any] | None:
    """Return the step from which a run resumes, and its changed settings, as status.json records them."""
    saved = job.composed.resumed
    if saved is None:
        return None
    return {"step": saved.progress["step"], "changes": [line for _, line in changes(job, saved)]}


def check_newest(saved: SavedRun) -> None:
    """Raise ArtifactError if another process resumed a run, now locked, after its checkpoint was read here."""
    fell_back = bool(saved.located.notes)
    if read_manifest(saved.path.parent).last != saved.path.name and not fell_back:
        raise ArtifactError(
            f"{saved.run} was resumed in another process since its checkpoint was read; resume it again"
        )


def check_data(job: Job, saved: SavedRun, data: Opened, session: Session) -> None:
    """Raise DataError if the data differs from that of the resumed run; say where the run resumes."""
    if data.fingerprint != saved.data_fingerprint:
        raise DataError(
            f"the data is not the same as when {saved.run} was interrupted ({how_it_differs(saved, data)}); "
            "set data.root= to the folder with that data"
        )
    at = saved.progress
    session.console.say(f"resuming from step {at['step']:,}, in epoch {at['epoch'] + 1}")
    before, wanted = saved.config.get("callback") or {}, job.settings.callback
    for name in wanted.keys() - before.keys():
        session.console.note(f"callback.{name} is new: it starts at step {at['step']:,} without a saved state")
    for name in before.keys() - wanted.keys():
        session.console.note(f"callback.{name} is removed from step {at['step']:,} on; its state is discarded")
    missing = at["num_rows"] - session.out.count_rows()
    if missing > 0:
        session.console.note(f"{missing} of {at['num_rows']} rows of metrics.jsonl are lost")


def changes(job: Job, saved: SavedRun) -> list[tuple[str, str]]:
    """Return the settings of a run that differ from a checkpoint's, each with `key: old -> new`."""
    before = saved.config
    tree = job.tree(known_late(before["data"]["in_shape"], saved.targets, before["data"].get("facts")))
    wanted = {key: value for key, value in tree.items() if key in RUN_KEYS}
    # Secrets are not in the checkpoint, and may have to be given again.
    sections: dict[str, Any] = {name: {} for name, value in wanted.items() if isinstance(value, Mapping)}
    found = differences(sections | dict(before), redact(wanted, known=job.composed.secrets))
    # A setting that did not exist when the checkpoint was saved has its default.
    return [
        (key, line) for key, line in found if value_at(before, key, _ABSENT) is not _ABSENT or job.composed.named(key)
    ]


def differences(saved: Any, wanted: Any, key: str = "") -> list[tuple[str, str]]:
    """Return the key of each setting that differs, with `key: old -> new`; a section in FREE counts as one setting."""
    if isinstance(saved, Mapping) and isinstance(wanted, Mapping) and key not in FREE:
        names = dict.fromkeys([*saved, *wanted])
        return [
            change
            for name in names
            for change in differences(saved.get(name), wanted.get(name), f"{key}.{name}" if key else str(name))
        ]
    # An empty section is equal to one that did not exist when the checkpoint was saved.
    if wanted in (saved, "auto") or (saved is None and wanted == {}):
        return []
    return [(key, f"{key}: {saved!r} -> {wanted!r}")]
