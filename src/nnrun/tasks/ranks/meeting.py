"""Where the ranks of a training meet: after the first has opened the data, until it is trained."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from nnrun.assembly.data.opened import Opened as Data
from nnrun.assembly.job import Job
from nnrun.base.ending import at_the_end, forget
from nnrun.base.errors import ConfigError, NnrunError, ResourceError
from nnrun.base.foreign_errors import AGAIN
from nnrun.base.ranks import this_rank
from nnrun.base.shown import counted
from nnrun.core.device import is_gpu
from nnrun.core.seams.world import World
from nnrun.tasks.ranks.link import Left, Opened, news_of_others, tell
from nnrun.tasks.session import Session

# The key by which the first rank says that its data is open, or that it never will be.
_READY, _YES, _NO = "ready", "yes", "no"
_LOOK_SECONDS = 0.02
# What gloo says of a rank that is there and does not answer.
_LATE = "Timed out waiting"
_AND_AGAIN = f"find out why, {AGAIN}"


class Meeting:
    """Where this rank meets the others; with no others, nothing happens here."""

    def __init__(self) -> None:
        """Reach the place; the first rank makes it."""
        self._rank = this_rank()
        self._store: Any = None
        if self._rank.size > 1:
            from torch.distributed import rendezvous  # noqa: PLC0415 - only for several processes

            # The ranks of one machine need no other network, which may be missing or guarded.
            if self._rank.local_size == self._rank.size:
                os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
            with self._reaching():
                self._store = next(rendezvous(self._rank.url, self._rank.index, self._rank.size))[0]
            if self._rank.is_first:
                self._undoing = at_the_end(partial(self._store.set, _READY, _NO))

    def begin(self) -> None:
        """Tell the other ranks that the data is open; one of those waits for that, however long it takes."""
        if self._store is None:
            return
        if self._rank.is_first:
            forget(self._undoing)
            self._store.set(_READY, _YES)
            return
        with self._reaching():
            while not self._store.check([_READY]):
                time.sleep(_LOOK_SECONDS)
            said = self._store.get(_READY)
        if said != _YES.encode():
            raise ResourceError("the first process ended before it trained")

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Raise ResourceError where the others cannot be reached in the block: one never came, or is gone."""
        try:
            yield
        except RuntimeError as error:
            why = str(error).partition("\n")[0]
            raise ResourceError(
                f"rank {self._rank.index} does not reach the other processes of this training ({why}): one did not "
                f"start, or has ended; find out why, {AGAIN}"
            ) from error

    @contextmanager
    def held(self, job: Job) -> Iterator[World]:
        """Yield the world of a training. Where another rank is lost in the block, raise its error."""
        if self._store is None:
            yield World()
            return
        from nnrun.core.process_group import ProcessGroup  # noqa: PLC0415 - only for several processes

        if is_gpu(job.device):
            torch.cuda.set_device(job.device)
        world: ProcessGroup | None = None
        try:
            world = ProcessGroup(self._store, self._rank.index, self._rank.size, backend_for(job))
            yield world
        except Exception as error:
            if (world is None or world.is_broken) and not isinstance(error, ConfigError):
                raise self._why(error) from error
            raise
        finally:
            tell(Left())
            if world is not None:
                world.leave()

    def _why(self, error: Exception) -> BaseException:
        """Return the error of the rank that can no longer be reached."""
        if isinstance(error, ResourceError) and isinstance(error.__cause__, RuntimeError):
            error = error.__cause__  # of an exchange within a pass of the network
        is_late = _LATE in str(error)
        if news := news_of_others(waits=not is_late):
            return news.error()
        if isinstance(error, NnrunError):
            return error
        who = f"rank {self._rank.index}"
        if is_late:
            return ResourceError(f"{who} got no answer from another process, which hangs or was stopped: {_AND_AGAIN}")
        return ResourceError(f"{who} lost the other processes of this training ({error}): {_AND_AGAIN}")


def backend_for(job: Job) -> str:
    """Return how the ranks exchange tensors: NCCL between GPUs, gloo on the host and where ranks share a GPU."""
    shares = job.shares_device
    return "cpu:gloo,cuda:nccl" if is_gpu(job.device) and not shares else "gloo"


def tell_of_ranks(job: Job, session: Session) -> None:
    """Say how many processes train together, on what; let the one that started them know the run directory."""
    rank = this_rank()
    if rank.size == 1:
        return
    tell(Opened(str(session.out.path), job.reading()))
    threads = counted(torch.get_num_threads(), "thread")
    where = (
        f"{job.device}, which they share" if job.shares_device else "a GPU each" if is_gpu(job.device) else "the CPU"
    )
    over = backend_for(job).rpartition(":")[2]
    session.console.say(f"{rank.size} processes train together on {where}, over {over}; {threads} each")


def check_shares(job: Job, data: Data) -> None:
    """Raise ConfigError where a batch has fewer samples than there are ranks: each needs one."""
    size, settings = this_rank().size, job.settings.data
    if size == 1:
        return
    wants = f"trainer.devices={size} processes share each batch, but "
    if min(settings.batch, len(data.train)) < size:
        least = min(settings.batch, len(data.train))
        raise ConfigError(
            f"{wants}a training batch has {counted(least, 'sample')}; use trainer.devices={least} or less"
        )
    if data.valid is not None and (least := min(settings.eval_batch_size, len(data.valid))) < size:
        raise ConfigError(
            f"{wants}a validation batch has {counted(least, 'sample')}; use trainer.devices={least} or less, or a "
            "larger data.eval_batch_size or data.val_fraction"
        )
