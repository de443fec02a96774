"""Run a config from start to end: train, evaluate, export, report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from nnrun.assembly.column_effects import column_effects
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.data.scales import check_learned
from nnrun.assembly.job import Job
from nnrun.assembly.network import Measured, Trained, load_trained, measure
from nnrun.assembly.objective import load_problem
from nnrun.assembly.preflight import prepare
from nnrun.assembly.training import Training
from nnrun.base.errors import ArtifactError, ResourceError
from nnrun.base.shown import Table, metric_text
from nnrun.config.composed import Composed
from nnrun.config.source import open_saved
from nnrun.core.seams.problem import Problem
from nnrun.runs.console import Console
from nnrun.runs.summary import Summary, show
from nnrun.tasks.ranks.meeting import Meeting, tell_of_ranks
from nnrun.tasks.report.at_the_end import report_on, report_wanted
from nnrun.tasks.report.column_effects import in_short
from nnrun.tasks.report.record import REPORT_NAME
from nnrun.tasks.session import Session, open_session
from nnrun.tasks.train.facts import Parts, facts_of, peak_memory, time_by_part
from nnrun.tasks.train.fit import best_sums, train
from nnrun.tasks.train.next_commands import next_commands
from nnrun.tasks.train.ready import Ready, open_ready
from nnrun.tasks.train.resume import check_config, finished_summary, going_on
from nnrun.tasks.train.tested import keep_samples


def run(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Summary:
    """Run a config in a directory of its own, or in the one that it resumes; return the summary.

    `words` are the command line's; `directory` is the one that a sweep made for the job. Raises a NnrunError if
    something is wrong, which the directory's status records too.
    """
    meeting = Meeting()
    job, console = prepare(composed), Console()
    resumed = job.composed.resumed
    if resumed:
        check_config(job, resumed)
        if done := finished_summary(job, resumed, console):
            return done
    wanted = report_wanted(job, is_job=directory is not None)
    with open_session(job, words, directory, console, going_on(job)) as session:
        parts = Parts()
        tell_of_ranks(job, session)
        ready = open_ready(job, session, parts)
        job, data, problem = ready.job, ready.data, ready.objective.problem
        if wanted:
            session.last.append(partial(report_on, session, problem, wanted))
        meeting.begin()
        with meeting.held(job) as world:
            training = train(job, data, ready.objective, session, world) if job.trains else None
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


def _exported(
    ready: Ready, trained: Trained, measured: Measured, session: Session, parts: Parts
) -> dict[str, dict[str, Any]]:
    """Export the network and verify each artifact; return their records by format."""
    from nnrun.tasks.export.exports import export_all, export_context, standard_of  # noqa: PLC0415 - for exports

    job, data, problem = ready.job, ready.data, ready.objective.problem
    standard = standard_of(job, data, problem, trained, measured)
    context = export_context(job, data, standard, measured.metrics[f"test/{problem.headline}"])
    with parts.timed("exports"):
        return export_all(job.settings.export, standard, context, session.out.path, session.console)


def _effects(ready: Ready, trained: Trained, session: Session, parts: Parts) -> dict[str, Any] | None:
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
