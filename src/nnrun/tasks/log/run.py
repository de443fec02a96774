"""`task=log`: send a run that has ended to loggers, from what it has written; the run is left as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnrun.assembly.instantiate import build
from nnrun.assembly.preflight import check_job
from nnrun.base.errors import ArtifactError, ConfigError, ResourceError
from nnrun.base.files import read_record
from nnrun.base.lock import check_free
from nnrun.base.secrets import redact
from nnrun.base.shown import counted
from nnrun.checkpoints.saved_run import SavedRun
from nnrun.components.callbacks.mistakes import pass_pictures
from nnrun.config.composed import Composed
from nnrun.core.seams.training import Logger, RunInfo
from nnrun.runs.console import Console
from nnrun.runs.logged import id_of, logged_rows, num_lines, sweep_of
from nnrun.runs.samples import SAMPLES_NAME, read_samples
from nnrun.runs.summary import Summary
from nnrun.tasks.session import Session, open_session


def send(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Summary:
    """Send the run that `ckpt=` names to the loggers of the config; return what they were told of it.

    Raises ResourceError if a logger fails: sending is all that is asked for.
    """
    job, console, saved = check_job(composed), Console(), composed.evaluated
    run = composed.located.run if composed.located else None
    if run is None or not isinstance(saved, SavedRun):
        raise ConfigError(f"ckpt={job.settings.ckpt} is not in a run directory, which task=log sends")
    check_free(run)
    reached = read_record(run / "summary.json")
    if reached is None:
        if (run / "summary.json").exists():
            raise ArtifactError(f"{run / 'summary.json'} is damaged, and the results are in it")
        raise ArtifactError(f"{run} has no summary.json: it did not reach its test; resume it with resume={run}")
    rows = logged_rows(run)
    loggers = {
        name: build(section, f"logger.{name}", Logger)  # type: ignore[type-abstract]
        for name, section in composed.resolved()["logger"].items()
    }
    with open_session(job, words, directory, console) as session:
        config = redact(dict(saved.config), known=composed.secrets)
        place = session.out.path
        info = RunInfo("train", place, config, 0, (), id_of(run), sweep_of(run), run.absolute())
        if num_lines(run) > len(rows):
            console.note(f"metrics.jsonl is damaged: {counted(len(rows), 'row')} before that can be sent")
        session.loggers.start(loggers, info)
        for step, values in rows:
            session.stop.poll()
            session.loggers.log(step, values)
            session.loggers.keep_pace()
        if job.settings.shows_samples and (run / SAMPLES_NAME).is_file():
            pass_pictures(session.loggers, read_samples(run), rows[-1][0] if rows else 0)
        _finish(session, run, reached)
        sent = [name for name in loggers if name not in session.loggers.failed]
        own = {"task": job.task.name, "run": str(place), "wall_seconds": session.out.seconds()}
        summary = Summary.from_json({**reached, **own})
        session.report(summary)
        if session.loggers.failed:
            raise ResourceError(*(f"logger.{name} fails with {why}" for name, why in session.loggers.failed.items()))
        console.say(f"sent {counted(len(rows), 'row')} of {run} to {' and '.join(sent)}")
    return summary


def _finish(session: Session, run: Path, reached: dict[str, object]) -> None:
    """Tell the loggers how the run ended."""
    status = read_record(run / "status.json") or {}
    end: dict[str, object] = {key: status[key] for key in ("state", "exit_code", "reason") if key in status}
    session.loggers.finish(reached | end)
