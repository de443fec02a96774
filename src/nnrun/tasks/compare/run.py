"""`task=compare`: rank runs, show in what they differ, and test the best of them. Needs no torch."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.base.files import write_json, write_text
from nnrun.base.secrets import redact_word
from nnrun.base.shown import counted
from nnrun.config.composed import Composed
from nnrun.config.schema import from_mapping
from nnrun.runs.console import Console
from nnrun.tasks.compare.record import TASK, CompareSettings
from nnrun.tasks.comparison.chosen import read_runs
from nnrun.tasks.comparison.comparison import Comparison, as_plain, compare_runs
from nnrun.tasks.comparison.contents import PAGE_NAME, page_of
from nnrun.tasks.comparison.csv_files import as_csv, samples_csv
from nnrun.tasks.comparison.importance import with_importance
from nnrun.tasks.comparison.printed import print_comparison
from nnrun.tasks.plain_session import plain_session

# Of compare.json.
SCHEMA = 1


@dataclass(frozen=True)
class Compared:
    """The result of a comparison as plain values, and its directory."""

    run: str
    values: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"task": TASK.name, "state": "finished", "run": self.run, **self.values}


def compare(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Compared:
    """Compare the runs that `runs=` names, in a directory of its own; return the result."""
    tree, console = composed.resolved(), Console()
    settings = from_mapping(CompareSettings, tree[TASK.name])
    runs, notes = read_runs(str(tree["runs"]))
    comparison = compare_runs(
        runs,
        metric=settings.metric,
        ways=composed.rules.known.metrics,
        num_tested=settings.tests,
        notes=notes,
    )
    comparison = with_importance(comparison, [entry.best for entry in comparison.ranked.unranked])
    with plain_session(composed, words, directory, console) as out:
        console.say(f"{counted(len(runs), 'run')} compared")
        print_comparison(comparison, console, settings.rows)
        write_files(comparison, out.path, shlex.join(["nnrun", *(redact_word(word) for word in words)]))
        console.say(f"written to {out.path}: {', '.join(_names(out.path))}")
        return Compared(str(out.path), as_plain(comparison))


def write_files(comparison: Comparison, folder: Path, command: str) -> None:
    """Write the comparison as CSV, as JSON and as a page, with the command that repeats it."""
    write_text(folder / "compare.csv", as_csv(comparison))
    write_json(folder / "compare.json", as_plain(comparison), SCHEMA)
    pairs = [verdict.pair for verdict in comparison.verdicts if verdict.pair is not None]
    if pairs and comparison.shows_samples:
        write_text(folder / "compare_samples.csv", samples_csv(pairs))

    from nnrun.runs.page import write_page  # noqa: PLC0415 - not before there is something to show

    write_page(page_of(comparison, "Runs compared", command), folder / PAGE_NAME)


def _names(folder: Path) -> list[str]:
    """Return the files that a comparison has written, the page first."""
    return sorted((path.name for path in folder.glob("compare*")), key=lambda name: (not name.endswith("html"), name))
