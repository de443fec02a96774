"""What tasks share that train for a few steps on a copy of the network, of which nothing is kept."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from nnrun.assembly.job import Job
from nnrun.base.errors import ArtifactError
from nnrun.checkpoints.saved_run import SavedRun
from nnrun.config.composed import Composed
from nnrun.config.source import start_of


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Leave the random generators of torch and of Python as they were before the block."""
    state = random.getstate()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(state)


def uncompiled(composed: Composed) -> Composed:
    """Return the config without compilation, which takes longer than a few steps."""
    config = composed.config.copy()
    config.trainer.compile = False
    return replace(composed, config=config)


def as_begun(job: Job) -> Job:
    """Return the job with the initial weights of the run that `ckpt=` names, if it had any; the run is repeated."""
    source, saved = job.composed.source, job.composed.evaluated
    if source is None or saved is None:
        return job
    if not isinstance(saved, SavedRun) or saved.located.run is None:
        raise ArtifactError(f"{saved.path} is not in a run directory: give its weights with init_from=")
    if job.settings.transfer.weights is not None:
        raise ArtifactError(
            f"{saved.located.run} started from transfer.weights; give its settings on the command line instead of ckpt="
        )
    return replace(job, composed=replace(job.composed, source=replace(source, start=start_of(saved.located.run))))
