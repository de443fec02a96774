"""Train as a rank that is not the first: print nothing, and write nothing that lasts."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from nnrun.assembly.job import Job
from nnrun.assembly.preflight import prepare
from nnrun.base.invocation import quietly
from nnrun.base.signals import StopRequest, stop_request
from nnrun.components.callbacks.loggers import Loggers
from nnrun.config.composed import Composed
from nnrun.core.workers.crew import end_workers
from nnrun.runs.console import Console
from nnrun.runs.directory import RunDir
from nnrun.tasks.ranks.meeting import Meeting
from nnrun.tasks.session import Session, begun
from nnrun.tasks.train.facts import Parts
from nnrun.tasks.train.fit import train
from nnrun.tasks.train.ready import open_ready
from nnrun.tasks.train.resume import check_config, finished_summary


def follow(composed: Composed) -> None:
    """Train with the first rank, from the data that it has opened; what a run leaves goes to a temporary folder."""
    with quietly(), stop_request() as stop, tempfile.TemporaryDirectory(prefix="nnrun-rank-") as folder:
        meeting = Meeting()
        job = prepare(_without_loggers(composed))
        session = _session(job, Path(folder), stop)
        resumed = job.composed.resumed
        if resumed:
            check_config(job, resumed)
            if finished_summary(job, resumed, session.console):
                return
        meeting.begin()
        try:
            ready = open_ready(job, session, Parts())
            with meeting.held(ready.job) as world:
                train(ready.job, ready.data, ready.objective, session, world)
        finally:
            end_workers()


def _without_loggers(composed: Composed) -> Composed:
    """Return the config without its loggers: the first rank has them."""
    config = composed.config.copy()
    config.logger = {}
    return replace(composed, config=config)


def _session(job: Job, folder: Path, stop: StopRequest) -> Session:
    """Return a session that writes to a folder of its own."""
    console = Console()
    return Session(RunDir(folder), console, stop, Loggers(console), begun(job, folder))
