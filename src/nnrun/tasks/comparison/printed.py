"""A comparison on the console."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box

from nnrun.base.shown import counted
from nnrun.runs.console import Console
from nnrun.runs.sheet import Sheet
from nnrun.tasks.comparison.columns import Column, Line, columns_of, lines_of
from nnrun.tasks.comparison.comparison import Comparison
from nnrun.tasks.comparison.families import Family
from nnrun.tasks.comparison.statistics import p_text
from nnrun.tasks.comparison.words import bytes_text, facts_of, signed, state_text

_MOST_DIFFERING = 5


def print_comparison(comparison: Comparison, console: Console, most_rows: int) -> None:
    """Print the families, the runs that are not ranked, the tests and the notes."""
    for family in comparison.ranked.families:
        _print_family(family, comparison, console, most_rows)
    _print_unranked(comparison, console, most_rows)
    if not comparison.settings and len(comparison.runs) > 1:
        console.say("no setting differs between the runs whose settings are known")
    if comparison.environment:
        console.say(f"also different: {', '.join(comparison.environment)}")
    if comparison.is_pair:
        print_pair(comparison, console)
    for note in comparison.notes:
        console.note(note)


def _print_family(family: Family, comparison: Comparison, console: Console, most_rows: int) -> None:
    """Print the table of a family, and the paths of its rows if there is no room for them in it."""
    direction = "lowest" if family.is_less_better else "highest"
    named = f" ({family.name})" if family.name else ""
    console.say("")
    console.say(f"{counted(len(family.runs), 'run')}{named}, best first: {direction} {family.metric}", style="bold")
    lines = list(lines_of(family, 1))
    shown = lines[:most_rows]
    if "run" in _print_lines(shown, columns_of(family, comparison), console):
        for line in _with_runs(shown):
            console.say(f"{line.number}  {line.run.path}")
    if len(lines) > len(shown):
        console.say(f"and {counted(len(lines) - len(shown), 'row')} more")


def _print_lines(lines: Sequence[Line], columns: Sequence[Column], console: Console) -> list[str]:
    """Print lines as a table; return the titles of the columns for which there is no room."""
    sheet = Sheet(box=box.SIMPLE_HEAD, pad_edge=False)
    sheet.add_column("", no_wrap=True)
    for column in columns:
        sheet.add_column(column.title, importance=column.importance, overflow="fold")
    for line in lines:
        cells = [column.of_run(line.run) if line.is_member else column.of_entry(line.entry) for column in columns]
        cells = [
            f"  {cell}" if line.is_member and column.is_path else cell
            for cell, column in zip(cells, columns, strict=True)
        ]
        sheet.add_row(line.number, *cells, style="dim" if line.is_member else None)
    _, dropped = sheet.fitted(console.rich.width)
    console.table(sheet)
    return dropped


def print_groups(comparison: Comparison, console: Console) -> None:
    """Print the runs that differ in the seed alone as one row each, if there are any."""
    for family in comparison.ranked.families:
        if any(entry.is_group for entry in family.entries):
            console.say("")
            console.say(f"mean and standard deviation over the seeds, best first by {family.metric}", style="bold")
            lines = [line for line in lines_of(family, 1) if not line.is_member]
            columns = [column for column in columns_of(family, comparison) if not column.is_path]
            columns = [column for column in columns if any(column.of_entry(line.entry) for line in lines)]
            _print_lines(lines, columns, console)


def print_best_two(comparison: Comparison, console: Console) -> None:
    """Print in a line how the best run compares with the next one on the same test samples."""
    verdict = next((verdict for verdict in comparison.verdicts if verdict.pair is not None), None)
    if verdict is not None and verdict.pair is not None:
        tested, names = verdict.pair.tested, comparison.names
        corrected = f" ({p_text(verdict.p)} with Holm's correction)" if verdict.p not in (None, tested.p) else ""
        console.say(
            f"{names[verdict.first]} against {names[verdict.second]} on the same "
            f"{counted(verdict.pair.num_samples, 'test sample')}: {signed(tested.difference)} in {verdict.pair.what}, "
            f"95 % interval {signed(tested.low)} to {signed(tested.high)}, {p_text(tested.p)}{corrected}"
        )


def _with_runs(lines: Sequence[Line]) -> list[Line]:
    """Return the lines that stand for one run."""
    return [line for line in lines if line.is_member or not line.entry.is_group]


def _print_unranked(comparison: Comparison, console: Console, most_rows: int) -> None:
    """Print the runs that are not ranked, each with its state and the reason."""
    entries = comparison.ranked.unranked
    if not entries:
        return
    console.say("")
    console.say(f"{counted(len(entries), 'run')} without a result to rank", style="bold")
    for entry in entries[:most_rows]:
        run = entry.best
        why = f": {entry.why}" if entry.why else ""
        console.say(f"{state_text(run)}  {run.path}  {bytes_text(run.num_bytes)}{why}")
    if len(entries) > most_rows:
        console.say(f"and {counted(len(entries) - most_rows, 'run')} more")


def print_pair(comparison: Comparison, console: Console) -> None:
    """Print the test of two runs in full, or why there is none."""
    console.say("")
    if not comparison.verdicts:
        console.note("there is no paired test: it needs two finished runs")
        return
    verdict = comparison.verdicts[0]
    if verdict.pair is None:
        console.note(f"there is no paired test: {verdict.why}")
        return
    sheet = Sheet(box=None, show_header=False, padding=(0, 2, 0, 0))
    sheet.add_column(no_wrap=True, style="cyan")
    sheet.add_column(overflow="fold")
    for name, line in facts_of(verdict.pair, verdict, comparison):
        sheet.add_row(name, line)
    console.table(sheet)
    differing = verdict.pair.differing
    if differing:
        console.say(f"{counted(len(differing), 'test sample')} on which they differ, the largest difference first:")
        for found in differing[:_MOST_DIFFERING]:
            console.say(f"  {found.name} is {found.target}: A {found.first}, B {found.second}")
