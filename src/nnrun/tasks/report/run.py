"""`task=report`: write the report and the model card of a run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.assembly.job import Job
from nnrun.assembly.objective import load_problem, make_problem
from nnrun.assembly.preflight import check_job
from nnrun.base.errors import ConfigError
from nnrun.base.lock import locked
from nnrun.checkpoints.saved_run import SavedRun
from nnrun.config.composed import Composed
from nnrun.config.folders import conf_dir
from nnrun.config.schema import ReportSettings, from_mapping
from nnrun.config.yaml_files import read_yaml
from nnrun.runs.console import Console
from nnrun.tasks.report.at_the_end import check_can_plot
from nnrun.tasks.report.read import OF_THE_REPORT
from nnrun.tasks.report.record import TASK
from nnrun.tasks.report.write import write_report


@dataclass(frozen=True)
class Written:
    """The files that were written into a run directory."""

    run: Path
    files: Sequence[Path]

    def to_json(self) -> dict[str, Any]:
        """Return them as plain values."""
        files = [str(path.relative_to(self.run)) for path in self.files]
        return {"task": TASK.name, "state": "finished", "run": str(self.run), "files": files}


def report(composed: Composed, _words: Sequence[str], _directory: Path | None = None) -> Written:
    """Write report.html and MODEL_CARD.md into the run directory that `ckpt=` names.

    This alone writes into a run that it reads, under the run's lock: raises ResourceError while the run is running.
    """
    job, console, saved = check_job(composed), Console(), composed.evaluated
    run = composed.located.run if composed.located else None
    if run is None or not isinstance(saved, SavedRun):
        raise ConfigError(f"ckpt={job.settings.ckpt} is not in a run directory, of which task=report writes a report")
    settings = _settings_of(job)
    check_can_plot(settings)
    for note in (*composed.notes, *(composed.located.notes if composed.located else ()), *composed.notes_on_unread):
        console.note(note)
    with locked(run):
        problem = make_problem(job, saved.targets)
        load_problem(problem, saved)
        saved.file.close()
        files, notes = write_report(run, problem, settings)
    for note in notes:
        console.note(f"{OF_THE_REPORT}{note}")
    for path in files:
        console.say(f"wrote {path}")
    return Written(run, files)


def _settings_of(job: Job) -> ReportSettings:
    """Return the settings of the report: the run's own, or the defaults if the run was to have none.

    Raises ConfigError for an explicit report=none.
    """
    if job.settings.report is not None:
        return job.settings.report
    if job.composed.named("report"):
        raise ConfigError("task=report report=none would write nothing; leave out report=none")
    return from_mapping(ReportSettings, read_yaml(conf_dir() / "report" / "default.yaml"))
