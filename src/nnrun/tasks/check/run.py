"""`task=check`: read all of some runs, compare every hash, say what is damaged or missing and what still works."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from nnrun.base.errors import ArtifactError, tell_reached
from nnrun.base.files import read_json
from nnrun.base.meter import meter
from nnrun.base.paths import expanded, is_there
from nnrun.base.shown import counted
from nnrun.base.visible import few
from nnrun.config.composed import Composed
from nnrun.runs.console import Console
from nnrun.tasks.check.examine import Examined, Fault, examine
from nnrun.tasks.check.one_file import FILE, examine_file
from nnrun.tasks.check.record import TASK
from nnrun.tasks.comparison.deleted import SWEEP_NAME, deleted_jobs
from nnrun.tasks.comparison.found import find_runs
from nnrun.tasks.comparison.words import bytes_text

# Of more runs than these, the whole ones are only counted.
_MOST_LISTED = 30
# The state of the folder of a sweep.
_SWEEP = "sweep"


@dataclass
class Checked:
    """All that was examined."""

    examined: list[Examined] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    state: str = "finished"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        runs = [it.to_json() for it in self.examined]
        return {"task": TASK.name, "state": self.state, "ok": not self.damaged, "runs": runs, "notes": self.notes}

    @property
    def damaged(self) -> list[Examined]:
        """Those in which something is wrong."""
        return [it for it in self.examined if not it.is_whole]


def check(composed: Composed, _words: Sequence[str], _directory: Path | None = None) -> Checked:
    """Examine what `ckpt=` names: a run, a sweep, a folder of runs, a pattern, a list of these, or one file.

    Raises ArtifactError where something is damaged or missing, after all was examined and said.
    """
    text, console, checked = str(composed.resolved()["ckpt"]), Console(), Checked()
    start = time.perf_counter()
    with console.showing_work("auto"):
        if is_there(expanded(text)) and expanded(text).is_file():
            checked.examined.append(examine_file(expanded(text)))
        else:
            _examine_runs(text, checked)
    for note in checked.notes:
        console.note(note)
    for item in checked.examined:
        if not item.is_whole or len(checked.examined) <= _MOST_LISTED:
            _show(item, console)
    files, size = (sum(getattr(it, name) for it in checked.examined) for name in ("num_files", "num_bytes"))
    runs = sum(it.state not in (FILE, _SWEEP) for it in checked.examined)
    what = f"{counted(runs, 'run')}, " if runs else ""
    what += f"{counted(files, 'file')}, {bytes_text(size)}, in {time.perf_counter() - start:.1f} s"
    damaged = checked.damaged
    if not damaged:
        console.say(f"nothing is damaged: {what}", style="bold")
        return checked
    checked.state = "failed"
    names = few([it.path for it in damaged], longest=None)
    failure = ArtifactError(f"damaged: {names}; looked at {what}")
    tell_reached(failure, checked.to_json())
    raise failure


def _examine_runs(text: str, checked: Checked) -> None:
    """Examine the runs that a value names, and the tables of the sweeps that they are jobs of."""
    found = find_runs(text, "ckpt")
    checked.notes += found.notes
    with meter("checking", len(found.runs), "runs") as advance:
        for run in found.runs:
            checked.examined.append(examine(run.path))
            advance(1)
    # A job that is named itself does not stand for its sweep.
    folders = dict.fromkeys(run.path.parent for run in found.runs if not run.is_named)
    checked.examined += [_examine_sweep(path) for path in folders if (path / SWEEP_NAME).exists()]


def _examine_sweep(folder: Path) -> Examined:
    """Examine the folder of a sweep: its table, and whether each job that it lists is there."""
    found = Examined(folder, _SWEEP)
    try:
        table = read_json(folder / SWEEP_NAME)
        rows = table if isinstance(table, list) else table["jobs"]  # 0.2.0 wrote a list
        jobs = [job for job in rows if isinstance(job, Mapping)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        found.blame(SWEEP_NAME, f"cannot be read: {getattr(error, 'strerror', None) or error}")
        return found
    found.count(folder / SWEEP_NAME)
    # The paths in the table are those of where the sweep ran.
    names = [PurePath(str(job.get("directory"))).name for job in jobs if job.get("exit_code") is not None]
    deleted = deleted_jobs(folder)
    found.faults += [
        Fault(name, "is missing") for name in names if name not in deleted and not (folder / name).exists()
    ]
    if gone := [name for name in names if name in deleted]:
        found.notes.append(f"deleted on purpose: {counted(len(gone), 'job')}")
    return found


def _show(item: Examined, console: Console) -> None:
    """Print what was found in a run."""
    verdict = "whole  " if item.is_whole else "damaged"
    head = f"{verdict}  {item.path}  {item.state}, {counted(item.num_files, 'file')}, {bytes_text(item.num_bytes)}"
    console.say(head, style=None if item.is_whole else "red")
    for fault in item.faults:
        console.say(f"  {fault.file}: {fault.what}" if fault.file != "." else f"  it {fault.what}")
    for note in item.notes:
        console.say(f"  note: {note}")
    if item.faults and item.state != FILE:
        console.say("  what still works:" if item.works else "  nothing in it is usable")
        for name, remark in item.works:
            console.say(f"    {name}{f'  ({remark})' if remark else ''}")
