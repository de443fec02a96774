"""A sweep: a search proposes jobs, a launcher runs each in its own directory, and they are ranked at the end."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnrun.base.errors import ConfigError, InterruptedRun, SweepFailed, tell_reached
from nnrun.base.files import sweep_temporaries
from nnrun.base.lock import locked
from nnrun.base.secrets import redact, redact_word
from nnrun.base.shown import counted
from nnrun.base.signals import StopRequest, stop_request
from nnrun.config.folders import find_modules_beside
from nnrun.config.overrides import parse_all
from nnrun.config.rules import Rules
from nnrun.config.sweep_settings import compose_sweep, is_of_a_sweep
from nnrun.runs.console import Console
from nnrun.sweeps.asked import Asked, past_of, refuse, search_for, sweep_folder
from nnrun.sweeps.board import Board, Headings, SideBySide
from nnrun.sweeps.checked import check_waiting
from nnrun.sweeps.compared import compare_jobs
from nnrun.sweeps.listing import list_jobs, say_jobs
from nnrun.sweeps.loop import Loop
from nnrun.sweeps.places import LaunchSetup, check_place, is_one_by_one, launcher_of
from nnrun.sweeps.points import as_points, points_of
from nnrun.sweeps.ranking import choose_ranking
from nnrun.sweeps.record import Record
from nnrun.sweeps.repeats import additions_of
from nnrun.sweeps.resumed import Past, check_settings, read_past, words_again
from nnrun.sweeps.seams import JobState, Recallable, Search
from nnrun.sweeps.search.grammar import parse_space
from nnrun.sweeps.table import CSV_NAME, as_plain, as_table, metric_names, ranked

# Rows of the table on the console; sweep.csv has all.
_MOST_ROWS = 40


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
    of_jobs = tuple(item for item in typed if not is_of_a_sweep(item))
    asked = Asked(config, of_jobs, own, rules, Console(), additions_of(config, of_jobs, rules.tasks))
    search = search_for(asked)
    if config.sweep.dry_run:
        return list_jobs(asked, search)
    check_place(config)
    folder = past.folder if past else sweep_folder(typed, own)
    shop, said = asked.workshop, list(map(redact_word, words))
    record = Record(folder, shop.swept, said, redact(config.plain), repeated=shop.repeated)
    if note:
        asked.console.note(note)
    find_modules_beside(own)
    with stop_request() as stop, locked(folder):
        sweep_temporaries(folder)
        # Another process may have resumed it since.
        past = read_past(folder) if past else None
        record.seconds = past.seconds if past else 0.0
        return run(asked, search, record, stop, past)


def run(asked: Asked, search: Search, record: Record, stop: StopRequest, past: Past | None) -> dict[str, Any]:
    """Run the jobs of a sweep, or those that `past` left, print their table, and return the results."""
    console, folder, config = asked.console, record.folder, asked.config
    record.told = search.events if isinstance(search, Recallable) else ()
    expected = search.expected if isinstance(search, Recallable) else None
    board: Board
    if is_one_by_one(config) and not config.sweep.stack:
        board = Headings(console, lambda: loop.num_expected)
    else:
        board = SideBySide(console, lambda: loop.num_expected, record.rows, lambda: launcher.num_slots)
    loop = Loop(
        search=search,
        workshop=asked.workshop,
        record=record,
        board=board,
        stop=stop,
        fails_fast=config.sweep.fail_fast,
        num_tested=asked.additions.num_tested,
    )
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
        num_jobs=lambda: loop.num_expected or sys.maxsize,
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
        say_jobs([row for row in record.rows if not row.has_ended], console)
        check_waiting(loop, launcher)
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
    console.table(as_table(rows[:_MOST_ROWS], record.swept, metric_names(rows)))
    if len(rows) > _MOST_ROWS:
        console.say(f"and {counted(len(rows) - _MOST_ROWS, 'job')} more")
    if record.repeated:
        console.table(as_points(points_of(record.ended, record.repeated)[:_MOST_ROWS]))
    console.say(f"the table is in {table}")
    compare_jobs(record.ended, record.folder, record.words, asked.rules.known.metrics, console)
