"""What a report shows: its sections in order, as plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nnrun.base.shown import Page, Section, Text, time_text
from nnrun.tasks.report.column_effects import HEADING, section_columns
from nnrun.tasks.report.cost import section_cost, section_exports
from nnrun.tasks.report.data_section import section_data
from nnrun.tasks.report.layers import section_layers, section_profile
from nnrun.tasks.report.read import RunRead
from nnrun.tasks.report.results import (
    main_result,
    section_curves,
    section_predictions,
    section_repeat,
    section_results,
)
from nnrun.tasks.report.settings import section_environment, section_notes, section_settings

_SECTIONS: tuple[tuple[str, Callable[[RunRead], Section]], ...] = (
    ("Results", section_results),
    ("Repeat this run", section_repeat),
    ("Learning curves", section_curves),
    ("Layers", section_layers),
    ("Test predictions", section_predictions),
    (HEADING, section_columns),
    ("Data", section_data),
    ("Exports", section_exports),
    ("Time and memory", section_cost),
    ("Profile", section_profile),
    ("Configuration", section_settings),
    ("Environment", section_environment),
    ("Notes and warnings", section_notes),
)


def page_of(run: RunRead) -> tuple[Page, list[str]]:
    """Return the page about a run, and why sections are missing from it, if any.

    A file of a run may hold anything, and a problem may be the user's code: one section that fails leaves the others.
    """
    sections, faults = [], list[str]()
    for heading, make in _SECTIONS:
        try:
            section = make(run)
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
            faults.append(f"{heading}: {fault}")
            section = Section(heading, [Text("", f"This section cannot be made from the run's files ({fault}).")])
        if section.shown:
            sections.append(replace(section, shown=list(section.shown)))
    return Page(run.title, lead_of(run), sections), faults


def lead_of(run: RunRead) -> str:
    """Return the line beneath the title: what was done, the main result, when, and where."""
    task, state = run.summary.get("task") or run.status.get("task") or "run", run.status.get("state")
    parts = [f"{task}, {state}" if state not in ("finished", None) else str(task)]
    try:
        result = main_result(run)
    except Exception:  # the section says why
        result = ""
    parts += [f"test {run.headline} {result}"] if result else []
    parts += [time_text(run.status["started"])] if run.status.get("started") else []
    parts += [run.place] if run.place else []
    return " · ".join(parts)
