"""`task=doctor`: check the machine, test nnrun's guarantees on its disk, and print a table of what works."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from nnrun.base.errors import ResourceError, tell_reached
from nnrun.base.files import saving
from nnrun.base.signals import stop_request
from nnrun.config.composed import Composed
from nnrun.runs.console import Console
from nnrun.runs.sheet import Sheet
from nnrun.tasks.doctor.machine import ABSENT, FAILS, WORKS, Finding, look_at_machine
from nnrun.tasks.doctor.record import TASK
from nnrun.tasks.doctor.trial import try_runs

_STYLES = {WORKS: "green", ABSENT: "dim", FAILS: "bold red"}


@dataclass(frozen=True)
class Examination:
    """The findings, and what failed."""

    findings: Sequence[Finding]

    @property
    def failed(self) -> list[str]:
        """Names of the checks that failed."""
        return [finding.what for finding in self.findings if finding.state == FAILS]

    def to_json(self) -> dict[str, Any]:
        """Return the findings as plain values."""
        state = "failed" if self.failed else "finished"
        return {"task": TASK.name, "state": state, "findings": [asdict(finding) for finding in self.findings]}


def doctor(composed: Composed, _words: Sequence[str], _directory: Path | None = None) -> Examination:
    """Print a table of what works here, and return the findings.

    The tests run in the folder in which a run would be stored, since disks differ; their files are removed afterwards.
    Raises ResourceError if a check failed.
    """
    console = Console()
    start = time.perf_counter()
    home = _home(composed.run_dir)
    with saving(home):
        temporary = tempfile.TemporaryDirectory(prefix=".doctor-", dir=home, ignore_cleanup_errors=True)
    with stop_request() as stop, temporary as name:
        folder = Path(name)
        console.say(f"checking this machine, and testing nnrun's guarantees in {home}; this takes about ten seconds")
        findings = look_at_machine(folder)
        stop.poll()
        findings += try_runs(folder, stop)
    console.table(as_table(findings))
    examination = Examination(findings)
    seconds = time.perf_counter() - start
    if examination.failed:
        error = ResourceError(*(f"{what}: failed on this machine; see the table" for what in examination.failed))
        tell_reached(error, examination.to_json())
        raise error
    console.say(f"everything available here works; checked in {seconds:.0f} s", style="bold")
    return examination


def _home(run_dir: Path | None) -> Path:
    """Return the existing folder in which a run's directory would be created."""
    wanted = (run_dir or Path("outputs")).absolute()
    return next(folder for folder in (wanted, *wanted.parents) if folder.is_dir())


def as_table(findings: Sequence[Finding]) -> Sheet:
    """Return a table with a row for each finding."""
    table = Sheet(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", overflow="fold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(finding.what, Text(finding.state, style=_STYLES[finding.state]), finding.detail)
    return table
