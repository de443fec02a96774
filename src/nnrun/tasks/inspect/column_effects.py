"""What the predictions of a trained network depend on, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nnrun.assembly.column_effects import column_effects
from nnrun.assembly.data.evaluation_data import open_for
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.job import Job
from nnrun.assembly.network import Trained
from nnrun.assembly.objective import make_objective
from nnrun.base.errors import NnrunError
from nnrun.checkpoints.saved_run import SavedRun
from nnrun.runs.console import Console
from nnrun.runs.sheet import Sheet
from nnrun.tasks.report.column_effects import SHARED, cells_of, how
from nnrun.tasks.session import Session

_MOST_SHOWN = 40


def rows_of(job: Job, data: Opened, session: Session) -> Opened | None:
    """Return data for which the trained network's predictions can be measured; None if its samples have no columns.

    Data that is not the run's is opened again, for the trained network: coded as its training was.
    """
    saved = job.composed.evaluated
    if saved is None or not hasattr(data.preprocessing, "input_columns"):
        return None
    if isinstance(saved, SavedRun) and saved.data_fingerprint == data.fingerprint:
        return data
    try:
        return open_for(job)
    except NnrunError as error:
        session.console.note(f"what the predictions depend on is not measured: {'; '.join(error.messages)}")
        return None


def effects_in(job: Job, data: Opened, trained: Trained, session: Session) -> dict[str, Any] | None:
    """Return what the predictions on the test split depend on, as plain values."""
    problem = make_objective(job, data).problem
    network = trained.network.to(job.device).eval()
    found = column_effects(job, data, network, trained.preprocessing, problem, session.stop.poll)
    return None if found is None else asdict(found)


def show_effects(found: Mapping[str, Any], console: Console) -> None:
    """Print the importance of each column, and of columns that say nearly the same."""
    console.say("")
    table = Sheet(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("column", overflow="fold", style="cyan", least_width=16)
    table.add_column(f"fall of {found['metric']}", justify="right", no_wrap=True)
    table.add_column("standard deviation", justify="right", no_wrap=True)
    importance = found["importance"]
    for row in (*importance[:_MOST_SHOWN], *found["together"]):
        table.add_row(*cells_of(row))
    console.table(table)
    if len(importance) > _MOST_SHOWN:
        console.say(f"{len(importance) - _MOST_SHOWN} less important columns are in inspect.json", "dim")
    console.say(how(found) + (f" {SHARED}" if found["together"] else ""), "dim")
    console.say("")
