"""The report at the end of a run: whether it is wanted, and its writing, whose failure is a note."""

from __future__ import annotations

from nnrun.assembly.job import Job
from nnrun.base.errors import NnrunError
from nnrun.base.foreign_errors import check_package
from nnrun.config.schema import ReportSettings
from nnrun.config.tree import is_within
from nnrun.core.seams.problem import Problem
from nnrun.tasks.session import Session

_PLOTTER = "vl_convert"


def report_wanted(job: Job, *, is_job: bool) -> ReportSettings | None:
    """Return the settings of the report that a run is to end with; None if it writes none.

    A training writes one. An evaluation, and a job of a sweep (`is_job`), does if the command line names `report` or a
    setting of it. Raises ResourceError if a package that the settings need is missing.
    """
    settings = job.settings.report
    is_named = any(is_within(item.key, "report") for item in job.composed.typed)
    if settings is None or not (is_named or (job.trains and not is_job)):
        return None
    check_can_plot(settings)
    return settings


def check_can_plot(settings: ReportSettings) -> None:
    """Raise ResourceError if charts are to be drawn as files, and the package that does it is not installed."""
    if settings.plots:
        check_package("report.plots=true", _PLOTTER)


def report_on(session: Session, problem: Problem, settings: ReportSettings) -> None:
    """Write the report of a run that has ended; a failure is a note."""
    # Nothing that makes pages is imported before a training ends.
    from nnrun.tasks.report.read import OF_THE_REPORT  # noqa: PLC0415
    from nnrun.tasks.report.write import write_report  # noqa: PLC0415

    console, run = session.console, session.out.path
    try:
        _, notes = write_report(run, problem, settings)
    except NnrunError as error:
        console.note(f"{OF_THE_REPORT}is not written: {'; '.join(error.messages)}")
        return
    except Exception as error:
        console.note(f"{OF_THE_REPORT}is not written: {type(error).__name__}: {error}")
        return
    for note in notes:
        console.note(f"{OF_THE_REPORT}{note}")
