"""A sweep: one job for each combination of values, each in its own directory, ranked at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from nnrun.base.errors import (
    BUG,
    Complaint,
    ConfigError,
    InterruptedRun,
    NnrunError,
    SweepFailed,
    complain,
    tell_reached,
)
from nnrun.base.files import saving, write_json
from nnrun.base.foreign_messages import show_traceback
from nnrun.base.invocation import begin
from nnrun.base.paths import is_there
from nnrun.base.secrets import hide_known, redact_word, secrets_in_words
from nnrun.base.shown import counted
from nnrun.base.signals import in_force, stop_request
from nnrun.config.compose import compose_config
from nnrun.config.draft import folder_of_jobs
from nnrun.config.folders import find_modules_beside
from nnrun.config.overrides import Typed, jobs_of, parse_all
from nnrun.config.rules import Rules
from nnrun.config.task import Task, task_called
from nnrun.config.typed_paths import SOURCE_KEYS
from nnrun.runs.console import Console
from nnrun.runs.directory import STATUS_SCHEMA, create_numbered, plain_name
from nnrun.runs.summary import Summary
from nnrun.sweeps.compared import compare_jobs
from nnrun.sweeps.ranking import Yardstick, choose_ranking
from nnrun.sweeps.table import JobResult, as_plain, as_table, metric_names, ranked, write_table
from nnrun.tasks.table import perform


@dataclass(frozen=True)
class Sweep:
    """The settings that the jobs of a sweep share."""

    folder: Path
    swept: tuple[str, ...]
    num_jobs: int
    own: Sequence[Path]
    rules: Rules
    console: Console
    # The words of its command line, without secrets.
    words: tuple[str, ...] = ()


def sweep(words: Sequence[str], own: Sequence[Path], rules: Rules, note: str | None = None) -> dict[str, Any]:
    """Run every job and return the results; raise SweepFailed if some failed.

    A failed job does not affect the others. `note` comes from the search for the user's config folder.
    """
    typed, problems = parse_all(words, [task.name for task in rules.tasks if task.is_named], own)
    problems += refuse(typed, rules.tasks)
    if problems:
        raise ConfigError(*problems)
    jobs = list(jobs_of(typed))
    swept = tuple(item.key for item in typed if item.is_sweep)
    shared = Sweep(sweep_folder(typed, own), swept, len(jobs), own, rules, Console(), tuple(map(redact_word, words)))
    folder = shared.folder
    if note:
        shared.console.note(note)
    shared.console.say(f"sweep of {counted(len(jobs), 'job')} in {folder}")
    results: list[JobResult] = []
    with stop_request() as stop:
        try:
            for number, job in enumerate(jobs):
                stop.poll()
                results.append(run_job(shared, number, job))
                # However the sweep ends, even if it is killed, there is a table of the finished jobs.
                write_table(results, shared.swept, shared.folder)
        except (KeyboardInterrupt, InterruptedRun) as error:
            with stop.held():
                finish(results, shared)
            stopped = InterruptedRun(
                getattr(error, "exit_code", 130) - 128,
                *getattr(error, "messages", ()),
                f"sweep stopped after {len(results)} of {counted(len(jobs), 'job')}; the results are in {folder}",
            )
            tell_reached(stopped, reached_by(results, shared, "interrupted"))
            raise stopped from None
        with stop.held():
            finish(results, shared)
    failed = [result for result in results if result.exit_code]
    if failed:
        of_all = f"{len(failed)} of {counted(len(results), 'job')}"
        failure = SweepFailed(f"{of_all} failed; the reasons are in {folder / 'sweep.csv'}")
        tell_reached(failure, reached_by(results, shared, "failed"))
        raise failure
    return reached_by(results, shared, "finished")


def reached_by(results: Sequence[JobResult], sweep: Sweep, state: str) -> dict[str, Any]:
    """Return the result of a sweep as plain values: its jobs, best first, as in sweep.json."""
    return {"state": state, "run": str(sweep.folder), "num_jobs": sweep.num_jobs, "jobs": as_plain(results)}


def refuse(typed: Sequence[Typed], tasks: Sequence[Task]) -> list[Complaint]:
    """Complain of words that cannot be swept over, or have no meaning in a sweep."""
    return [Complaint(item.key, text) for item in typed for text in _refused(item, tasks)]


def _refused(item: Typed, tasks: Sequence[Task]) -> Iterator[str]:
    """Yield the reasons why a word cannot be part of a sweep."""
    looks_swept = item.value is not None and "," in str(item.value) and not is_there(str(item.value))
    if item.key in SOURCE_KEYS and (looks_swept or str(item.value).startswith("choice(")):
        yield f"{item.word!r}: cannot sweep over {item.key}; run each checkpoint separately"
    if item.key == "hydra.run.dir":
        yield "hydra.run.dir has no effect in a sweep; use hydra.sweep.dir=, the folder of all its jobs"
    if item.key == "task":
        named = [task_called(name, tasks) for name in (item.value, *item.choices)]
        yield from (task.not_swept for task in named if task is not None and task.not_swept is not None)
    if item.key == "input" and item.value == "-":
        yield "input=- can be read once, not by each job of a sweep; give a file, a folder or a pattern"
    if item.key == "resume" and item.value is not None:
        yield "resume= continues a single run; it cannot be part of a sweep"


def sweep_folder(typed: Sequence[Typed], own: Sequence[Path]) -> Path:
    """Create and return the folder of the sweep: the one that hydra.sweep.dir names, or one named by the time."""
    folder = folder_of_jobs(typed, own)
    if folder is None:
        now = datetime.now()
        return create_numbered(Path("outputs/multirun") / now.strftime("%Y-%m-%d"), now.strftime("%H-%M-%S"))
    with saving(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"hydra.sweep.dir={folder} is in use (not empty); choose another")
    return folder


def run_job(sweep: Sweep, number: int, words: list[str]) -> JobResult:
    """Run one job in this process and return its result; of its errors, only an interrupt ends the sweep."""
    console = sweep.console
    pairs = (redact_word(word).partition("=") for word in words)
    chosen = {key: value for key, _, value in pairs if key in sweep.swept}
    name = "_".join(f"{key}-{value}" for key, value in chosen.items())
    console.say("")
    console.say(f"job {number + 1} of {sweep.num_jobs}: {' '.join(f'{key}={value}' for key, value in chosen.items())}")
    directory = create_numbered(sweep.folder, f"{number}_{plain_name(name)}")
    result = JobResult(number, chosen, str(directory), 0, "finished")
    start = time.perf_counter()
    begin()
    try:
        composed = compose_config(words, sweep.own, sweep.rules)
        find_modules_beside(sweep.own)
        result.yardstick = Yardstick.of(composed.resolved())
        summary = perform(composed, words, directory)
        assert isinstance(summary, Summary), "a sweep refuses a task that measures nothing"
        result.monitor, result.monitored, result.mode = summary.monitor, summary.monitored, summary.mode
        result.metrics, result.yardstick = summary.metrics, replace(result.yardstick, headline=summary.headline)
    except (KeyboardInterrupt, InterruptedRun):
        raise
    except NnrunError as error:
        messages = [hide_known(message, secrets_in_words(words)) for message in error.messages]
        complain([f"job {number}: {message}" for message in messages])
        result.exit_code, result.state, result.reason = error.exit_code, "failed", "\n".join(messages)
    except (Exception, SystemExit) as error:
        in_force().poll()  # a library may have turned an interrupt into another error
        if os.environ.get("NNRUN_DEBUG") == "1" or not isinstance(error, SystemExit):
            show_traceback()
        reason = hide_known(f"{type(error).__name__}: {error}", secrets_in_words(words))
        complain([f"job {number}: {reason}"])
        result.exit_code, result.state, result.reason = BUG, "failed", reason
    result.seconds = round(time.perf_counter() - start, 3)
    if result.exit_code and not any(directory.iterdir()):
        status = {"state": "failed", "exit_code": result.exit_code, "reason": result.reason}
        write_json(directory / "status.json", status, STATUS_SCHEMA)
    return result


def finish(results: Sequence[JobResult], sweep: Sweep) -> None:
    """Write the jobs, best first, and print their table if there are any."""
    table, rows = write_table(results, sweep.swept, sweep.folder), ranked(results)
    if not rows:
        return
    ranking = choose_ranking(results)
    sweep.console.say("")
    sweep.console.say(f"{counted(len(rows), 'job')}{', best first' if ranking.metric else ''}", style="bold")
    if ranking.note:
        sweep.console.note(ranking.note)
    sweep.console.table(as_table(rows, sweep.swept, metric_names(rows)))
    sweep.console.say(f"the table is in {table}")
    compare_jobs(results, sweep.folder, sweep.words, sweep.rules.known.metrics, sweep.console)
