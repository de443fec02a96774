"""Train as a rank that is not the first: print nothing, and write nothing that lasts."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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

# The folders of such ranks. A new one may not be locked yet.
_PREFIX, _NEW_SECONDS = "nnrun-rank-", 60.0


def follow(composed: Composed) -> None:
    """Train with the first rank, from the data that it has opened; what a run leaves goes to a temporary folder."""
    with quietly(), stop_request() as stop, _temporary_folder() as folder:
        meeting = Meeting()
        job = prepare(_without_loggers(composed))
        session = _session(job, folder, stop)
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


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Yield a folder that is removed after the block; if this process is killed in it, by a later one.

    A lock on the folder says that its process lives.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError), _locked(path):
            if time.time() - path.stat().st_mtime > _NEW_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder, _locked(Path(folder)):
        yield Path(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder in the block; raise OSError if another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _without_loggers(composed: Composed) -> Composed:
    """Return the config without its loggers: the first rank has them."""
    config = composed.config.copy()
    config.logger = {}
    return replace(composed, config=config)


def _session(job: Job, folder: Path, stop: StopRequest) -> Session:
    """Return a session that writes to a folder of its own."""
    console = Console()
    return Session(RunDir(folder), console, stop, Loggers(console), begun(job, folder))
