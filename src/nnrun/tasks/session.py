"""A run in progress: its directory, its console, and the signals that may stop it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.job import Job
from nnrun.assembly.preflight import check_job, for_data
from nnrun.base.ending import at_the_end, forget
from nnrun.base.errors import ResourceError, tell_reached
from nnrun.base.files import sweep_temporaries, write_json
from nnrun.base.lock import locked
from nnrun.base.paths import alone, inside
from nnrun.base.secrets import redact_word
from nnrun.base.shown import counted
from nnrun.base.signals import StopRequest, stop_request
from nnrun.checkpoints.latest import BEFORE, latest_link, point_latest, put_back
from nnrun.checkpoints.manifest import FOLDER_NAME, MANIFEST_NAME
from nnrun.components.callbacks.loggers import Loggers
from nnrun.config.composed import Composed
from nnrun.config.yaml_files import yaml_text
from nnrun.core.seams.training import Logger, RunInfo
from nnrun.core.workers.crew import end_workers
from nnrun.runs import directory as rundir
from nnrun.runs.console import Console
from nnrun.runs.directory import RunDir
from nnrun.runs.environment import ENVIRONMENT_SCHEMA, with_resumed
from nnrun.runs.logged import id_of, logged_rows, sweep_of
from nnrun.runs.summary import Summary
from nnrun.tasks.asked_config import config_as_asked
from nnrun.tasks.outcome import Outcome, outcome_of


@dataclass
class Session:
    """A run in progress: its outputs, its stop signals, and what it has reached so far."""

    out: RunDir
    console: Console
    stop: StopRequest
    loggers: Loggers
    reached: Summary
    # The name of the sweep that the run is a job of.
    sweep: str | None = None
    # Called when the status says how the run ended. Their failure is a note: it does not change how the run ended.
    last: list[Callable[[], None]] = field(default_factory=list)
    _is_reported: bool = False

    def report(self, summary: Summary) -> None:
        """Write what the run has reached to its summary.json."""
        self.reached, self._is_reported = summary, True
        summary.failed_loggers = dict(self.loggers.failed)
        summary.write(self.out.path)

    def start_loggers(self, loggers: Mapping[str, Logger], config: Mapping[str, Any], step: int, num_rows: int) -> None:
        """Start loggers of a run that begins at a step, with so many rows before it."""
        if loggers:
            path, rows = self.out.path, logged_rows(self.out.path, num_rows)
            run = RunInfo(self.reached.task, path, config, step, rows, id_of(path), self.sweep)
            self.loggers.start(loggers, run)

    def conclude(self) -> None:
        """Call what comes last. A signal cuts it short; an error, even of the console, changes nothing."""
        for call in self.last:
            try:
                call()
            except (Exception, KeyboardInterrupt) as error:
                with suppress(Exception):
                    self.console.note(f"the end of the run was cut short: {type(error).__name__}: {error}")

    def finish_loggers(self, state: str, exit_code: int, reason: str | None) -> None:
        """Tell each logger how the run ends; if one fails in this, the status and the summary name it too."""
        reached = self.reached.to_json()
        self.loggers.finish({**reached, "state": state, "exit_code": exit_code, "reason": reason})
        if self.loggers.failed:
            self.out.remember(failed_loggers=self.loggers.failed)
        if self._is_reported and self.loggers.failed != self.reached.failed_loggers:
            self.report(self.reached)


def begun(job: Job, path: Path) -> Summary:
    """Return the summary of a job that has reached nothing yet."""
    return Summary(
        task=job.task.name,
        state="running",
        run=str(path),
        metrics={},
        monitor=job.monitor,
        mode=job.mode,
        wall_seconds=0.0,
    )


@contextmanager
def open_session(
    job: Job, words: Sequence[str], directory: Path | None, console: Console, resumed: Mapping[str, Any] | None = None
) -> Iterator[Session]:
    """Yield the session of a job; its directory is locked, described and logged to, and its status says how it ended.

    The directory is the one resumed, the one that a sweep made, or a new one. `words` are the command line's; `resumed`
    is the step from which a run resumes, and its changed settings.
    """
    composed = job.composed
    path = job.resume or directory or composed.made_dir or rundir.create(composed.run_dir, job.directory_name)
    with stop_request() as stop, locked(path) as stale:
        reached = begun(job, path)
        session = Session(
            RunDir(path), console, stop, Loggers(console), reached, sweep_of(path, is_job=directory is not None)
        )
        sweep_temporaries(path)
        is_finished = False
        undoing = at_the_end(partial(_end_in_the_midst, session.out, stop))
        try:
            session.out.start(job.task.name, resumed)
            console.secrets = job.composed.secrets
            console.log_to(alone(inside(path, "run.log")))
            if stale:
                console.note(f"took over {path} from {stale}, which is no longer running")
            _describe(session, job, words, resumed)
            with console.showing_work(job.progress):
                yield session
            session.finish_loggers("finished", 0, None)
            # From here on the run counts as finished, even if a signal arrives.
            with stop.held():
                session.out.end("finished", 0, None)
                is_finished = True
            session.conclude()
        except BaseException as error:
            if is_finished:
                raise
            with stop.held():
                outcome = outcome_of(error, job, path, stop)
                _end_with(outcome, session)
            forget(undoing)
            _tell_loggers(outcome, session)
            tell_reached(outcome.error, session.reached.to_json() | {"state": outcome.state})
            if not getattr(outcome.error, "at_once", False):
                session.conclude()
            raise outcome.error from (error if outcome.error is not error else error.__cause__)
        finally:
            end_workers()
            console.close()
            forget(undoing)


def _describe(session: Session, job: Job, words: Sequence[str], resumed: Mapping[str, Any] | None) -> None:
    """Record and print what is run, where and with what; point outputs/latest to the newest run that trains.

    A resumed run keeps its earlier records.
    """
    out, console, secrets = session.out, session.console, job.composed.secrets
    if job.trains and not take_latest(out):
        console.note("outputs/latest is not a link, and is left unchanged")
    typed, found = [redact_word(word, secrets) for word in words], job.environment()
    if resumed is None:
        out.describe(_config_text(job), yaml_text(typed))
    else:
        at, step = rundir.now(), resumed["step"]
        out.describe_again(_config_text(job), yaml_text([{"resumed": at, "step": step, "words": typed}]))
        found = with_resumed(out.path / "environment.json", found, at, step)
    write_json(out.path / "environment.json", found, ENVIRONMENT_SCHEMA)
    precision = f" in {job.precision.name} ({job.precision.reason})" if job.task.reads("trainer.precision") else ""
    console.say(f"{job.task.name} {job.name} on {job.device}{precision}")
    console.say(f"run directory {out.path}")
    for note in job.notes:
        console.note(note)


def _config_text(job: Job) -> str:
    """Return the config as YAML for people to read."""
    return yaml_text(config_as_asked(job.composed))


def fit_to_data(job: Job, data: Opened, session: Session) -> Job:
    """Return the job as its opened data requires (`for_data`); note what differs from what was assumed.

    Raises ConfigError if settings that were given explicitly do not fit the data.
    """
    fitted = for_data(job, data)
    if fitted.composed.became != {group: auto.assumed for group, auto in job.composed.autos.items()}:
        became = [f"{group}=auto is {option}" for group, option in fitted.composed.became.items()]
        session.console.note(f"{', '.join(became)}: data={job.settings.data.name} has {data.targets}")
    if fitted is job:
        return job
    session.out.write_config(_config_text(fitted))
    session.reached.monitor, session.reached.mode = fitted.monitor, fitted.mode
    if (batch_size := fitted.settings.data.batch) != job.settings.data.batch:
        changed = "lowered" if batch_size < job.settings.data.batch else "raised"
        session.console.note(
            f"data.batch_size {changed} from {job.settings.data.batch} to {batch_size}: the training split has "
            f"{counted(len(data.train), 'sample')}"
        )
    return fitted


def with_chosen(job: Job, session: Session, composed: Composed) -> Job:
    """Return the job with a config in which a setting became a number, which its run directory shows from now on."""
    chosen = replace(check_job(composed), precision=job.precision, notes=job.notes)
    session.out.write_config(_config_text(chosen))
    return chosen


def _end_with(outcome: Outcome, session: Session) -> None:
    """Record how an error ended the run. Signals must not interrupt this."""
    out = session.out
    sweep_temporaries(out.path)
    # On a full disk this fails too; the first error is the one to report.
    with suppress(ResourceError, OSError):
        put_back(latest_link(), lost=out.path)
    if session.loggers.failed:
        out.remember(failed_loggers=session.loggers.failed)
    with suppress(ResourceError):
        out.end(outcome.state, outcome.exit_code, outcome.reason, seals=False)


def _tell_loggers(outcome: Outcome, session: Session) -> None:
    """Tell the loggers how an error ended the run, and seal what they wrote; their errors do not change its status.

    After a signal they may take their time; a second Ctrl-C cuts that short.
    """
    waiting = session.stop.deferred() if session.stop.heard else nullcontext()
    with suppress(KeyboardInterrupt, ResourceError, OSError):
        try:
            with waiting:
                session.finish_loggers(outcome.state, outcome.exit_code, outcome.reason)
        finally:
            session.out.seal()


def take_latest(out: RunDir) -> bool:
    """Point outputs/latest to the run, after recording its old target; return False if it is not a link."""
    latest = latest_link()
    put_back(latest)
    if not (out.path / FOLDER_NAME / MANIFEST_NAME).exists():
        out.set_status(**{BEFORE: str(latest.readlink()) if latest.is_symlink() else None})
    return point_latest(out.path)


def _end_in_the_midst(out: RunDir, stop: StopRequest) -> None:
    """Record the end of a run whose process is about to exit because a call did not return after a signal."""
    out.end("interrupted", 128 + (stop.heard or signal.SIGTERM), "stopped in a call that did not return")
