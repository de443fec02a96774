"""What data.batch_size=auto becomes."""

from __future__ import annotations

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.job import Job
from nnrun.config.auto import AUTO
from nnrun.tasks.session import Session


def with_batch(job: Job, data: Opened, session: Session) -> Job:
    """Return the job with a number for data.batch_size, measured if it is auto. Only trainings read it."""
    if not job.trains or job.settings.data.batch_size != AUTO:
        return job
    from nnrun.tasks.batch_find.run import chosen_batch  # noqa: PLC0415 - other runs do not measure

    return chosen_batch(job, data, session)
