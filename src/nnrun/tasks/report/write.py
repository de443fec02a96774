"""Write the report on a run and its model card into its directory."""

from __future__ import annotations

from pathlib import Path

from nnrun.base.files import write_text
from nnrun.base.paths import inside
from nnrun.config.schema import ReportSettings
from nnrun.core.seams.problem import Problem
from nnrun.tasks.report.card import card_of
from nnrun.tasks.report.content import page_of
from nnrun.tasks.report.private import without_private
from nnrun.tasks.report.read import read_run
from nnrun.tasks.report.record import CARD_NAME, PLOTS_NAME, REPORT_NAME


def write_report(path: Path, problem: Problem | None, settings: ReportSettings) -> tuple[list[Path], list[str]]:
    """Write report.html and MODEL_CARD.md, and the charts if asked for; return the files, and notes on what is missing.

    Raises ResourceError where the disk refuses them.
    """
    from nnrun.runs.page import write_page  # noqa: PLC0415 - nothing of it is imported before a training ends

    run = read_run(path, problem)
    public = without_private(run)
    page, faults = page_of(run if settings.samples else public)
    notes = [f"lacks a section: {fault}" for fault in faults] + [f"is incomplete: {fault}" for fault in run.faults]
    files = [inside(path, REPORT_NAME), inside(path, CARD_NAME)]
    write_page(page, files[0])
    write_text(files[1], card_of(public))
    if settings.plots:
        from nnrun.runs.plots import write_plots  # noqa: PLC0415 - as above

        files.append(inside(path, PLOTS_NAME))
        write_plots(page, files[-1])
    return files, notes
