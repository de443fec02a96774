"""What trainer.max_minutes becomes."""

from __future__ import annotations

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.job import Job
from nnrun.tasks.session import Session


def within_minutes(job: Job, data: Opened, session: Session) -> Job:
    """Return the job with the number of steps that trainer.max_minutes allows, measured if it is set.

    Only trainings read it. The config of a run has the number instead, so that it is never measured again.
    """
    if not job.trains or job.settings.trainer.max_minutes is None or job.resume:
        return job
    from nnrun.tasks.train.budget import with_steps  # noqa: PLC0415 - other runs do not measure

    return with_steps(job, data, session)
