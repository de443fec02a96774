"""Open the data of a training, and fit the job to it."""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.assembly.data.announce import tell_of_data
from nnrun.assembly.data.evaluation_data import open_for
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.data.scales import check_given_mean, note_on_inputs
from nnrun.assembly.job import Job
from nnrun.assembly.objective import make_objective, watched_by
from nnrun.core.objective import Objective
from nnrun.tasks.beside import write_beside
from nnrun.tasks.ranks.meeting import check_shares
from nnrun.tasks.session import Session, fit_to_data
from nnrun.tasks.train.batch_auto import with_batch
from nnrun.tasks.train.facts import Parts
from nnrun.tasks.train.fit import warn
from nnrun.tasks.train.max_minutes import within_minutes
from nnrun.tasks.train.repeat import Repetition, begin_again
from nnrun.tasks.train.resume import check_data, check_newest


@dataclass(frozen=True)
class Ready:
    """A job that is fitted to its data, which is open; `again` is the run that it repeats, if any."""

    job: Job
    data: Opened
    objective: Objective
    again: Repetition | None


def open_ready(job: Job, session: Session, parts: Parts) -> Ready:
    """Open the data, fit the job to it, and check that a resumed or a repeated run has the data that it had."""
    resumed, repeated = job.composed.resumed, job.composed.repeated
    if resumed:
        check_newest(resumed)
    with parts.timed("opening"):
        data = open_for(job)
    if job.trains:
        write_beside(data.preprocessing, session.out.path)
    if job.trains:
        data.hash_ahead()
    job = _measured(fit_to_data(job, data, session), data, session, parts)
    _tell_of_data(job, data, session)
    objective = make_objective(job, data)
    job = watched_by(job, objective)
    check_shares(job, data)
    if resumed:
        check_data(job, resumed, data, session)
    again = begin_again(job, repeated, data, session) if repeated else None
    return Ready(job, data, objective, again)


def _measured(job: Job, data: Opened, session: Session, parts: Parts) -> Job:
    """Return the job with what is measured before a training: its batch size, its number of steps."""
    with parts.timed("measuring"):
        measured = within_minutes(with_batch(job, data, session), data, session)
    if measured is job:
        del parts.seconds["measuring"]
    return measured


def _tell_of_data(job: Job, data: Opened, session: Session) -> None:
    """Report the data, and keep its notes for the summary; raise ConfigError where a given mean does not fit it."""
    session.reached.warnings += tell_of_data(data, job.data, job.settings.loss, session.console, trains=job.trains)
    if job.trains and not job.composed.resumed and not job.composed.repeated:
        check_given_mean(data, job.data)
    if job.trains and (large := note_on_inputs(data, job.data)):
        warn(session, large)
