"""Run a config from start to end: train, evaluate, export, report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from nnrun.assembly.column_effects import column_effects
from nnrun.assembly.data.announce import tell_of_data
from nnrun.assembly.data.evaluation_data import open_for
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.data.scales import check_given_mean, check_learned, note_on_inputs
from nnrun.assembly.job import Job
from nnrun.assembly.network import Measured, Trained, load_trained, measure
from nnrun.assembly.objective import load_problem, make_objective, watched_by
from nnrun.assembly.preflight import prepare
from nnrun.assembly.training import Training
from nnrun.base.errors import ArtifactError, ResourceError
from nnrun.base.shown import Table, metric_text
from nnrun.config.composed import Composed
from nnrun.config.source import open_saved
from nnrun.core.objective import Objective
from nnrun.core.seams.problem import Problem
from nnrun.runs.console import Console
from nnrun.runs.summary import Summary, show
from nnrun.tasks.beside import write_beside
from nnrun.tasks.report.at_the_end import report_on, report_wanted
from nnrun.tasks.report.column_effects import in_short
from nnrun.tasks.report.record import REPORT_NAME
from nnrun.tasks.session import Session, fit_to_data, open_session
from nnrun.tasks.train.batch_auto import with_batch
from nnrun.tasks.train.facts import Parts, facts_of, peak_memory, time_by_part
from nnrun.tasks.train.fit import best_sums, train, warn
from nnrun.tasks.train.max_minutes import within_minutes
from nnrun.tasks.train.next_commands import next_commands
from nnrun.tasks.train.repeat import Repetition, begin_again
from nnrun.tasks.train.resume import check_config, check_data, check_newest, finished_summary, going_on
from nnrun.tasks.train.tested import keep_samples


def run(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Summary:
    """Run a config in a directory of its own, or in the one that it resumes; return the summary.

    `words` are the command line's; `directory` is the one that a sweep made for the job. Raises a NnrunError if
    something is wrong, which the directory's status records too.
    """
    job, console = prepare(composed), Console()
    resumed = job.composed.resumed
    if resumed:
        check_config(job, resumed)
        if done := finished_summary(job, resumed, console):
            return done
    wanted = report_wanted(job, is_job=directory is not None)
    with open_session(job, words, directory, console, going_on(job)) as session:
        parts = Parts()
        ready = _open(job, session, parts)
        job, data, problem = ready.job, ready.data, ready.objective.problem
        if wanted:
            session.last.append(partial(report_on, session, problem, wanted))
        training = train(job, data, ready.objective, session) if job.trains else None
        trained = _trained(job, data, problem, training, session)
        with parts.timed("test"):
            measured = measure(job, trained, data, ready.objective, session.stop.poll)
        summary = summarize(job, session, trained, measured, training)
        summary.data, summary.headline = facts_of(data), problem.headline
        mistakes = keep_samples(problem, data.test, measured, session, job.settings)
        if wanted and "test" in measured.details:
            summary.column_effects = _effects(ready, trained, session, parts)
        if job.settings.export and "test" in measured.details:
            summary.artifacts = _exported(ready, trained, measured, session, parts)
        session.stop.poll()  # an exporter that a signal interrupts may report that as a failure of its own
        _conclude(summary, job, session, parts)
        results = figures(problem, measured, mistakes)
        if summary.column_effects and (told := in_short(summary.column_effects)):
            results.append(("columns", told))
        results += [("report", REPORT_NAME)] if wanted else []
        commands = next_commands(job, summary, data, training, has_report=wanted is not None)
        show(summary, results, console, commands, trained=job.trains)
        if ready.again:
            ready.again.compare(summary, console)
        report(summary, session)
    return summary


@dataclass(frozen=True)
class _Ready:
    """A job that is fitted to its data, which is open; `again` is the run that it repeats, if any."""

    job: Job
    data: Opened
    objective: Objective
    again: Repetition | None


def _open(job: Job, session: Session, parts: Parts) -> _Ready:
    """Open the data, fit the job to it, and check that a resumed or a repeated run has the data that it had."""
    resumed, repeated = job.composed.resumed, job.composed.repeated
    if resumed:
        check_newest(resumed)
    with parts.timed("opening"):
        data = open_for(job)
    if job.trains:
        write_beside(data.preprocessing, session.out.path)
    if job.trains:
        data.hash_ahead()
    job = _measured(fit_to_data(job, data, session), data, session, parts)
    _tell_of_data(job, data, session)
    objective = make_objective(job, data)
    job = watched_by(job, objective)
    if resumed:
        check_data(job, resumed, data, session)
    again = begin_again(job, repeated, data, session) if repeated else None
    return _Ready(job, data, objective, again)


def _measured(job: Job, data: Opened, session: Session, parts: Parts) -> Job:
    """Return the job with what is measured before a training: its batch size, its number of steps."""
    with parts.timed("measuring"):
        measured = within_minutes(with_batch(job, data, session), data, session)
    if measured is job:
        del parts.seconds["measuring"]
    return measured


def _exported(
    ready: _Ready, trained: Trained, measured: Measured, session: Session, parts: Parts
) -> dict[str, dict[str, Any]]:
    """Export the network and verify each artifact; return their records by format."""
    from nnrun.tasks.export.exports import export_all, export_context, standard_of  # noqa: PLC0415 - for exports

    job, data, problem = ready.job, ready.data, ready.objective.problem
    standard = standard_of(job, data, problem, trained, measured)
    context = export_context(job, data, standard, measured.metrics[f"test/{problem.headline}"])
    with parts.timed("exports"):
        return export_all(job.settings.export, standard, context, session.out.path, session.console)


def _effects(ready: _Ready, trained: Trained, session: Session, parts: Parts) -> dict[str, Any] | None:
    """Measure what the predictions depend on, if the samples have columns; return it as plain values."""
    problem, poll = ready.objective.problem, session.stop.poll
    with parts.timed("columns"):
        found = column_effects(ready.job, ready.data, trained.network, trained.preprocessing, problem, poll)
    if found is None:
        del parts.seconds["columns"]
        return None
    return asdict(found)


def _conclude(summary: Summary, job: Job, session: Session, parts: Parts) -> None:
    """Set how the run ends, its time and its memory in the summary: nothing is measured after this."""
    summary.time, summary.memory = time_by_part(parts, summary.train), peak_memory(job.device)
    good = all(of["ok"] and "not_published" not in of for of in summary.artifacts.values())
    summary.state, summary.wall_seconds = "finished" if good else "failed", session.out.seconds()


def _tell_of_data(job: Job, data: Opened, session: Session) -> None:
    """Report the data, and keep its notes for the summary; raise ConfigError where a given mean does not fit it."""
    session.reached.warnings += tell_of_data(data, job.data, job.settings.loss, session.console, trains=job.trains)
    if job.trains and not job.composed.resumed and not job.composed.repeated:
        check_given_mean(data, job.data)
    if job.trains and (large := note_on_inputs(data, job.data)):
        warn(session, large)


def _trained(job: Job, data: Opened, problem: Problem, training: Training | None, session: Session) -> Trained:
    """Return the network that `ckpt=` names, or the best of the training; the problem is fitted as its file says."""
    saved = job.composed.evaluated or open_saved(session.out.path)
    trained = load_trained(job, data, saved)
    load_problem(problem, saved)
    if training is None:
        check_learned(trained.preprocessing, data, job.data)
    for note in trained.notes:
        session.console.note(note)
    return replace(trained, validated=best_sums(job, training)) if training else trained


def summarize(job: Job, session: Session, trained: Trained, measured: Measured, training: Training | None) -> Summary:
    """Return the run's summary; after a training, also add the test's row to metrics.jsonl."""
    at = trained.progress or {"step": None, "epoch": None, "best": None}
    train = {"steps": at["step"], "epochs": at["epoch"], "samples_per_second": None, "seconds": None}
    if training is not None:
        tested = {name: value for name, value in measured.metrics.items() if name.startswith("test/")}
        values = {name.removeprefix("test/"): value for name, value in tested.items()}
        if tested:
            session.out.add_row({"step": at["step"], "epoch": at["epoch"], "split": "test", **values})
            # At the last step: some loggers refuse steps that go back, as the best weights' step would.
            session.loggers.log(training.state.progress.step, tested)
        session.reached.metrics, train = measured.metrics, session.reached.train
    return Summary(
        task=job.task.name,
        state="finished",
        run=str(session.out.path),
        metrics=measured.metrics,
        monitor=job.monitor,
        mode=job.mode,
        best={key: at["best"][key] for key in ("epoch", "step")} if at["best"] else None,
        train=train,
        details=measured.details,
        wall_seconds=0.0,
        warnings=session.reached.warnings,
    )


def figures(problem: Problem, measured: Measured, mistakes: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return the results to show on the terminal: titles and lines, the costliest mistakes last."""
    lines: list[tuple[str, str]] = []
    for split in (name for name in ("test", "valid") if name in measured.details):
        values = {name.removeprefix(f"{split}/"): v for name, v in measured.metrics.items() if name.startswith(split)}
        names = problem.in_short(list(values))
        lines.append((split, "  ".join(f"{name} {metric_text(values[name])}" for name in names)))
    details = measured.details.get("test")
    if details is None:
        return [(title, line) for title, line in lines if line]
    baseline = details["baseline"]
    if baseline is not None and math.isfinite(baseline):
        gain = measured.metrics[f"test/{problem.headline}"] - baseline
        gained = f"the network gains {metric_text(gain)}" if gain > 0 else "the network is no better"
        trivial = f"{problem.headline} {metric_text(baseline)} by the best constant prediction; {gained}"
        lines.append(("baseline", trivial))
    tables = [shown for shown in problem.show(details) if isinstance(shown, Table)]
    lines += [(table.label or table.title, table.summary) for table in tables]
    lines += [("" if index else "costliest", line) for index, line in enumerate(mistakes)]
    return [(title, line) for title, line in lines if line]


def report(summary: Summary, session: Session) -> None:
    """Write the summary; raise ArtifactError if an artifact failed verification, ResourceError if one was not sent."""
    refused = {name: artifact["reason"] for name, artifact in summary.artifacts.items() if not artifact["ok"]}
    session.report(summary)
    if refused:
        raise ArtifactError(*(f"export.{name} failed verification: {reason}" for name, reason in refused.items()))
    if kept := [line for artifact in summary.artifacts.values() for line in artifact.get("not_published", ())]:
        raise ResourceError(*kept)
