"""What a resumed run may change, and what must still be as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nnrun.archive import peek
from nnrun.errors import ConfigError, DataError
from nnrun.opened import Opened
from nnrun.prepare import Job
from nnrun.report.console import Console
from nnrun.report.summary import Summary
from nnrun.secrets import redact

# Settings that change only what comes after the checkpoint, or nothing at all.
FREE = (
    "trainer.epochs",
    "trainer.device",
    "trainer.progress",
    "trainer.keep_last",
    "trainer.checkpoint_every_steps",
    "early_stopping.patience",
    "data.root",
    "data.download",
    "data.dataset.root",
    "data.dataset.download",
    "data.residency",
    "data.num_workers",
    "export",
    "logger",
    "trust",
    "task",
    "resume",
)
# Schedules whose every step depends on the run's length: with another length, the past would have been another.
_LENGTH_PARAMETER = "total_steps"


def finished_summary(job: Job, console: Console) -> Summary | None:
    """Return the summary of a run that is finished and is not asked to go on, after saying so."""
    assert job.resume is not None
    saved = _saved(job)
    at = saved["training"]["progress"]
    if job.settings.trainer.epochs > saved["config"]["trainer"]["epochs"] and not at["stop_reason"]:
        return None
    try:
        status = json.loads((job.resume / "status.json").read_text())
        summary = Summary.from_json(json.loads((job.resume / "summary.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    if status.get("state") != "finished":
        return None
    idle = [item.key for item in job.composed.typed if item.key not in ("resume", "trust", "task")]
    if idle:
        raise ConfigError(
            f"{', '.join(idle)} would have no effect: {job.resume} is finished after {at['epoch']} epochs"
            + (f", because {at['stop_reason']}" if at["stop_reason"] else "")
            + f"; nnrun ckpt={job.resume} evaluates or exports it, init_from={job.resume} starts a new run"
        )
    why = f" ({at['stop_reason']})" if at["stop_reason"] else "; a larger trainer.epochs would go on"
    console.say(f"{job.resume} is finished after {at['epoch']} epochs{why}: nothing to do")
    return summary


def check_config(job: Job) -> None:
    """Raise ConfigError with a diff where a resumed run's config would have changed its past."""
    assert job.resume is not None
    saved = _saved(job)["config"]
    # A secret is not in the checkpoint: it may be, and may have to be, typed again.
    changes = differences(saved, redact(job.tree(saved["data"]["in_shape"], saved["data"]["num_classes"])))
    epochs = saved["trainer"]["epochs"]
    if job.settings.trainer.epochs != epochs and _LENGTH_PARAMETER in (job.settings.scheduler or {}):
        wanted = job.settings.trainer.epochs
        changes.append(f"trainer.epochs: {epochs} -> {wanted}, under a schedule over the whole run")
    if changes:
        raise ConfigError(
            f"{job.resume} cannot go on with a config that would have changed its past; "
            f"leave it as it was, or start a new run with init_from={job.resume}:",
            *changes,
        )


def check_data(job: Job, data: Opened, console: Console) -> None:
    """Raise DataError where the data is another than that of the run that is resumed; say where the run goes on."""
    saved = _saved(job)
    if data.fingerprint != saved["data_fingerprint"]:
        raise DataError(
            f"the data is not the same as when {job.resume} was interrupted (its fingerprint differs); "
            "name the folder that holds it with data.root="
        )
    at = saved["training"]["progress"]
    console.say(f"going on from step {at['step']:,}, in epoch {at['epoch'] + 1}")


def differences(saved: Any, wanted: Any, key: str = "") -> list[str]:
    """Return `key: old -> new` for each setting that differs and is not free to."""
    if key in FREE:
        return []
    if isinstance(saved, Mapping) and isinstance(wanted, Mapping):
        names = dict.fromkeys([*saved, *wanted])
        return [
            line
            for name in names
            for line in differences(saved.get(name), wanted.get(name), f"{key}.{name}" if key else str(name))
        ]
    if wanted in (saved, "auto"):
        return []
    return [f"{key}: {saved!r} -> {wanted!r}"]


def _saved(job: Job) -> dict[str, Any]:
    """Return the plain values of the checkpoint that the run goes on from."""
    assert job.composed.checkpoint is not None
    return peek(job.composed.checkpoint.path)
