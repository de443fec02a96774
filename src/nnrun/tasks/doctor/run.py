"""`task=doctor`: look at the machine, try what nnrun promises on its disk, and say in a table what works here."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from nnrun.base.errors import ResourceError
from nnrun.base.files import saving
from nnrun.base.signals import stop_request
from nnrun.config.composed import Composed
from nnrun.runs.console import Console, Sheet
from nnrun.tasks.doctor.machine import ABSENT, FAILS, WORKS, Finding, look_at_machine
from nnrun.tasks.doctor.record import TASK
from nnrun.tasks.doctor.trial import try_runs

_STYLES = {WORKS: "green", ABSENT: "dim", FAILS: "bold red"}


@dataclass(frozen=True)
class Examination:
    """What was found of the machine, and whether all of it that is here works."""

    findings: Sequence[Finding]

    @property
    def failed(self) -> list[str]:
        """What fails that should work."""
        return [finding.what for finding in self.findings if finding.state == FAILS]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        state = "failed" if self.failed else "finished"
        return {"task": TASK.name, "state": state, "findings": [asdict(finding) for finding in self.findings]}


def doctor(composed: Composed, _words: Sequence[str], _directory: Path | None = None) -> Examination:
    """Print what works here, and return it.

    What is tried is done where a run would be kept, since disks differ, and removed again. Raises ResourceError where
    something fails that should work.
    """
    console = Console()
    start = time.perf_counter()
    home = _home(composed.run_dir)
    with saving(home):
        temporary = tempfile.TemporaryDirectory(prefix=".doctor-", dir=home, ignore_cleanup_errors=True)
    with stop_request() as stop, temporary as name:
        folder = Path(name)
        console.say(f"looking at this machine, and trying in {home} what nnrun promises; this takes some ten seconds")
        findings = look_at_machine(folder)
        stop.poll()
        findings += try_runs(folder, stop)
    console.table(as_table(findings))
    examination = Examination(findings)
    seconds = time.perf_counter() - start
    if examination.failed:
        error = ResourceError(*(f"{what}: fails on this machine; the table says how" for what in examination.failed))
        error.reached = examination.to_json()
        raise error
    console.say(f"all that is here works; looked at in {seconds:.0f} s", style="bold")
    return examination


def _home(run_dir: Path | None) -> Path:
    """Return the folder, there already, in which the directory of a run would be made."""
    wanted = (run_dir or Path("outputs")).absolute()
    return next(folder for folder in (wanted, *wanted.parents) if folder.is_dir())


def as_table(findings: Sequence[Finding]) -> Sheet:
    """Return what was found, a row each."""
    table = Sheet(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", overflow="fold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(finding.what, Text(finding.state, style=_STYLES[finding.state]), finding.detail)
    return table
