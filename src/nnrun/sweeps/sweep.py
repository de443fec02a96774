"""A sweep: a search proposes jobs, a launcher runs each in its own directory, and they are ranked at the end."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from nnrun.base.errors import Complaint, ConfigError, InterruptedRun, SweepFailed, tell_reached
from nnrun.base.files import saving
from nnrun.base.lock import locked
from nnrun.base.paths import is_there
from nnrun.base.secrets import redact, redact_word
from nnrun.base.shown import counted
from nnrun.base.signals import StopRequest, stop_request
from nnrun.config.draft import folder_of_jobs
from nnrun.config.folders import find_modules_beside
from nnrun.config.overrides import Typed, parse_all
from nnrun.config.rules import Rules
from nnrun.config.sweep_settings import SweepConfig, compose_sweep, is_of_a_sweep
from nnrun.config.task import Task, task_called
from nnrun.config.typed_paths import SOURCE_KEYS
from nnrun.runs.console import Console
from nnrun.runs.directory import create_numbered
from nnrun.sweeps.board import Board, Headings, SideBySide
from nnrun.sweeps.compared import compare_jobs
from nnrun.sweeps.jobs import Workshop
from nnrun.sweeps.loop import Loop
from nnrun.sweeps.places import LaunchSetup, SearchSetup, is_one_by_one, launcher_of, search_of
from nnrun.sweeps.ranking import choose_ranking
from nnrun.sweeps.record import Record
from nnrun.sweeps.resumed import Past, check_settings, read_past, resumed_folder, words_again
from nnrun.sweeps.seams import JobState, Recallable, Search
from nnrun.sweeps.search.grammar import parse_space
from nnrun.sweeps.table import CSV_NAME, JSON_NAME, as_plain, as_table, metric_names, ranked


@dataclass(frozen=True)
class Asked:
    """What a command line asks of a sweep: its settings, and the words of its jobs."""

    config: SweepConfig
    typed: tuple[Typed, ...]
    own: Sequence[Path]
    rules: Rules
    console: Console

    @property
    def axes(self) -> list[Typed]:
        """The words that name several values."""
        return [item for item in self.typed if item.is_sweep]


def sweep(words: Sequence[str], own: Sequence[Path], rules: Rules, note: str | None = None) -> dict[str, Any]:
    """Run every job and return the results; raise SweepFailed if some failed.

    A failed job does not affect the others. `note` comes from the search for the user's config folder.
    """
    past = past_of(words)
    words = words_again(past, words) if past else words
    typed, problems = parse_all(words, [task.name for task in rules.tasks if task.is_named], own)
    problems += refuse(typed, rules.tasks)
    if problems:
        raise ConfigError(*problems)
    config = compose_sweep(typed, own, rules)
    if past:
        check_settings(past, config.plain)
    typed += parse_space(config.method.get("space"), typed)
    asked = Asked(config, tuple(item for item in typed if not is_of_a_sweep(item)), own, rules, Console())
    search = search_for(asked)
    folder = past.folder if past else sweep_folder(typed, own)
    record = Record(folder, [item.key for item in asked.axes], list(map(redact_word, words)), redact(config.plain))
    if note:
        asked.console.note(note)
    find_modules_beside(own)
    with stop_request() as stop, locked(folder):
        # Another process may have resumed it since.
        return run(asked, search, record, stop, read_past(folder) if past else None)


def past_of(words: Sequence[str]) -> Past | None:
    """Return the record of the sweep that `resume=` names, if it does."""
    folder = resumed_folder(words)
    return None if folder is None else read_past(folder)


def search_for(asked: Asked) -> Search:
    """Return the search of a sweep; raise before anything is written if it cannot be."""
    config, keys = asked.config, [item.key for item in asked.axes]
    setup = SearchSetup(
        settings=config.sweep,
        own_settings=config.method,
        axes=asked.axes,
        words_with=Workshop(asked.typed, keys, asked.own, asked.rules).words_with,
        seed=config.seed,
        own=asked.own,
        rules=asked.rules,
    )
    return search_of(config, setup)


def run(asked: Asked, search: Search, record: Record, stop: StopRequest, past: Past | None) -> dict[str, Any]:
    """Run the jobs of a sweep, or those that `past` left, print their table, and return the results."""
    console, folder, config = asked.console, record.folder, asked.config
    workshop = Workshop(asked.typed, record.swept, asked.own, asked.rules)
    record.told = search.events if isinstance(search, Recallable) else ()
    expected = search.expected if isinstance(search, Recallable) else None
    board: Board
    if is_one_by_one(config):
        board = Headings(console, lambda: loop.num_jobs)
    else:
        board = SideBySide(console, lambda: loop.num_jobs, record.rows, lambda: launcher.num_slots)
    loop = Loop(search, workshop, record, board, stop, config.sweep.fail_fast, expected)
    loop.follows_jobs = config.launch.place != "local"
    launched = LaunchSetup(
        settings=config.sweep,
        own_settings=config.launcher,
        folder=folder,
        own=asked.own,
        rules=asked.rules,
        console=console,
        decide=loop.decide,
        awaits=expected is not None and expected.awaits,
        num_jobs=lambda: expected.num_jobs if expected else len(record.rows),
        trainers=loop.trainers,
    )
    launcher = launcher_of(config, launched)
    try:
        if past:
            loop.restore(past)
        # A search proposes by what it was told: its jobs are not known before the first has run.
        if isinstance(search, Recallable):
            search.keep_in(folder)
        else:
            loop.list_all()
        done = f", {counted(len(record.ended), 'job')} done before" if past else ""
        what = "search" if isinstance(search, Recallable) else f"sweep of {counted(len(record.rows), 'job')}"
        console.say(f"{what} in {folder}{done}")
        progress = next((item.value for item in reversed(asked.typed) if item.key == "trainer.progress"), "auto")
        with board.shown(progress):
            loop.run(launcher)
    except (KeyboardInterrupt, InterruptedRun) as error:
        with stop.held():
            finish(asked, record, "interrupted")
        of_all = f"{len(record.ended)} of {counted(len(record.rows), 'job')}"
        stopped = InterruptedRun(
            getattr(error, "exit_code", 130) - 128,
            *getattr(error, "messages", ()),
            f"sweep stopped after {of_all}; the results are in {folder}; "
            f"resume with: nnrun -m {shlex.quote(f'resume={folder}')}",
        )
        tell_reached(stopped, reached_by(record))
        raise stopped from None
    finally:
        launcher.close()
    failed = [row for row in record.rows if row.state == JobState.FAILED]
    with stop.held():
        finish(asked, record, "failed" if failed else "finished")
    if failed:
        of_all = f"{len(failed)} of {counted(len(record.rows), 'job')}"
        failure = SweepFailed(f"{of_all} failed; the reasons are in {folder / CSV_NAME}")
        tell_reached(failure, reached_by(record))
        raise failure
    return reached_by(record)


def reached_by(record: Record) -> dict[str, Any]:
    """Return the result of a sweep as plain values: its jobs, best first, as in sweep.json."""
    run, num_jobs = str(record.folder), len(record.rows)
    return {"state": record.state, "run": run, "num_jobs": num_jobs, "jobs": as_plain(record.rows)}


def refuse(typed: Sequence[Typed], tasks: Sequence[Task]) -> list[Complaint]:
    """Complain of words that cannot be swept over, or have no meaning in a sweep."""
    found = [Complaint(item.key, text) for item in typed for text in _refused(item, tasks)]
    keys = [item.key for item in typed]
    twice = dict.fromkeys(item.key for item in typed if item.is_sweep and keys.count(item.key) > 1)
    return found + [
        Complaint(key, f"{key} is given twice, but a sweep varies it; remove one of the words") for key in twice
    ]


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


def sweep_folder(typed: Sequence[Typed], own: Sequence[Path]) -> Path:
    """Create and return the folder of the sweep: the one that hydra.sweep.dir names, or one named by the time."""
    folder = folder_of_jobs(typed, own)
    if folder is None:
        now = datetime.now()
        return create_numbered(Path("outputs/multirun") / now.strftime("%Y-%m-%d"), now.strftime("%H-%M-%S"))
    with saving(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            resumable = (
                f", or continue its sweep with nnrun -m resume={folder}" if (folder / JSON_NAME).is_file() else ""
            )
            raise ConfigError(f"hydra.sweep.dir={folder} is in use (not empty); choose another{resumable}")
    return folder


def finish(asked: Asked, record: Record, state: str) -> None:
    """Write the jobs, best first, and print the table of those that have ended, if there are any."""
    record.state = state
    table, console, rows = record.write(), asked.console, ranked(record.ended)
    if not rows:
        return
    ranking = choose_ranking(rows)
    console.say("")
    console.say(f"{counted(len(rows), 'job')}{', best first' if ranking.metric else ''}", style="bold")
    if ranking.note:
        console.note(ranking.note)
    console.table(as_table(rows, record.swept, metric_names(rows)))
    console.say(f"the table is in {table}")
    compare_jobs(record.ended, record.folder, record.words, asked.rules.known.metrics, console)
