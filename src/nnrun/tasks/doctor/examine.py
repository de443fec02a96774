"""`task=doctor`: look at the machine, try in short what nnrun promises, and say in a table what works here."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from nnrun.base.errors import ConfigError, ResourceError
from nnrun.base.files import saving
from nnrun.base.signals import stop_request
from nnrun.config.overrides import Typed
from nnrun.runs.console import Console, Sheet
from nnrun.tasks.doctor.campaigns import Done, Plan, run_campaigns
from nnrun.tasks.doctor.command import Main
from nnrun.tasks.doctor.machine import ABSENT, FAILS, WORKS, Finding, look_at_machine
from nnrun.tasks.doctor.specimen import hear

_STYLES = {WORKS: "green", ABSENT: "dim", FAILS: "bold red"}
_EXPORT = ("trainer=debug", "trainer.progress=false", "data.limit=400", "export=onnx", "hydra.run.dir=run")


def examine(typed: Sequence[Typed], main: Main) -> int:
    """Print what works here; `typed` are the words of the command line, `main` is the command line as a function.

    What is tried is done in the folder where runs are kept, since disks differ, and removed again. Raises ConfigError
    for words that would have no effect, ResourceError where something fails that should work.
    """
    idle = sorted({item.key for item in typed} - {"task"})
    if idle:
        raise ConfigError(f"{', '.join(idle)} would have no effect with task=doctor, which tries what it needs itself")
    console = Console()
    start = time.perf_counter()
    outputs = Path("outputs")
    home = (outputs if outputs.is_dir() else Path()).absolute()
    with saving(home):
        temporary = tempfile.TemporaryDirectory(prefix=".doctor-", dir=home, ignore_cleanup_errors=True)
    with stop_request() as stop, temporary as name:
        folder = Path(name)
        console.say(f"looking at this machine, and trying in {home} what nnrun promises; this takes up to a minute")
        findings = [*look_at_machine(folder), _export(folder / "export", main)]
        stop.poll()  # the run that was tried heard it
        for done in run_campaigns(main, folder, Plan()):
            findings.append(as_finding(done))
            console.say(f"  {done.seconds:5.1f} s  {done.campaign.promise}")
    console.table(as_table(findings))
    failed = [finding.what for finding in findings if finding.state == FAILS]
    seconds = time.perf_counter() - start
    if failed:
        raise ResourceError(*(f"{what}: fails on this machine; the table says how" for what in failed))
    console.say(f"all that is here works; looked at in {seconds:.0f} s", style="bold")
    return 0


def _export(folder: Path, main: Main) -> Finding:
    """Train a few steps, export to ONNX and prove it."""
    folder.mkdir()
    start = time.perf_counter()
    code, said = hear(folder, lambda: main(_EXPORT))
    detail = f"trained, exported and proven in {time.perf_counter() - start:.1f} s"
    return (
        Finding("a run with export=onnx", FAILS, said.strip()[-200:])
        if code
        else Finding("a run with export=onnx", WORKS, detail)
    )


def as_finding(done: Done) -> Finding:
    """Return a campaign as a row of the table."""
    result = done.result
    if not result.tried:
        return Finding(done.campaign.promise, ABSENT, f"not tried: {'; '.join(result.notes)}")
    state = WORKS if result.ok else FAILS
    detail = f"{result.tried} tried" if result.ok else result.line()
    return Finding(done.campaign.promise, state, detail)


def as_table(findings: Sequence[Finding]) -> Sheet:
    """Return what was found, a row each."""
    table = Sheet(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", overflow="fold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(finding.what, Text(finding.state, style=_STYLES[finding.state]), finding.detail)
    return table
