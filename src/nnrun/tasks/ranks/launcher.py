"""Start the processes of a training on this machine, and wait for them: all end, whichever of them ends first.

They are forks of this process, which has imported torch once and used no device; it holds the composed config. They
have process groups of their own, so that a Ctrl-C arrives once, from here.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO

from nnrun.base.errors import BUG, InterruptedRun, ResourceError, complain
from nnrun.base.foreign_errors import AGAIN
from nnrun.base.signals import StopRequest, stop_request
from nnrun.config.compose import compose_config
from nnrun.config.composed import Composed
from nnrun.runs.summary import Summary
from nnrun.tasks.ranks.aftermath import can_resume, record_end, summary_of_finished
from nnrun.tasks.ranks.being import be_rank
from nnrun.tasks.ranks.link import Ended, Left, Opened
from nnrun.tasks.ranks.wanted import rank_started

# How long the first rank may take to end once another is gone. It notices that at its next step.
_PATIENCE_SECONDS = 15.0
_TICK_SECONDS = 0.1
# Of what a killed rank wrote to its standard error, the last lines are shown.
_NUM_LINES = 20


@dataclass
class _Started:
    """A rank: its process, our end of its pipe, what it wrote to stderr, and what is known of its end."""

    index: int
    pid: int
    link: Connection
    errors: IO[bytes]
    ended: Ended | None = None
    # As waitpid gives it; None as long as it runs.
    status: int | None = None
    is_killed: bool = False
    # Whether it no longer needs the others.
    has_left: bool = False

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self.status is None:
            self.is_killed = True
            os.kill(self.pid, signal.SIGKILL)

    @property
    def loss(self) -> str | None:
        """How it was lost, in words: it ended without a word, and not by us."""
        if self.status is None or self.ended is not None or self.is_killed:
            return None
        who, code = f"rank {self.index} (pid {self.pid})", os.waitstatus_to_exitcode(self.status)
        if code == -signal.SIGKILL:
            return f"{who} was killed (SIGKILL): by hand, or for lack of memory"
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"{who} {how}"


def launch(composed: Composed, run: Callable[[Composed], Summary | None], size: int) -> Summary:
    """Train in `size` processes, each of which calls `run`; return the summary of the first.

    Raises the error that ended them. If a process is lost, the run resumes from its last checkpoint, at most
    `trainer.max_restarts` times.
    """
    num_restarts = composed.resolved()["trainer"]["max_restarts"]
    while True:
        with ExitStack() as stack:
            team = _Team(_start(composed, run, size, stack))
            with stop_request() as stop, stop.deferred():
                team.watch(stop)
            summary, error = team.conclusion()
        if summary is not None:
            return summary
        assert error is not None
        opened = team.opened
        if team.lost is None or num_restarts == 0 or stop.heard or not can_resume(opened):
            raise error
        assert opened is not None
        num_restarts -= 1
        complain([f"{team.lost}; restarting from the last checkpoint ({num_restarts} more times)"])
        words = [f"resume={opened.directory}", *shlex.split(opened.reading)]
        composed = compose_config(words, composed.own, composed.rules)


def _start(
    composed: Composed, run: Callable[[Composed], Summary | None], size: int, stack: ExitStack
) -> Sequence[_Started]:
    """Start the processes; what they need here is given back at the end of `stack`."""
    if composed.resolved()["trainer"]["strategy"] == "fsdp":
        # Once here, not in each process: it takes as long as importing torch.
        import torch.distributed.fsdp  # noqa: F401, PLC0415 - only for such a training
    # A file in memory, which each fork has: nothing is left of it, however the processes end.
    meeting = os.memfd_create("nnrun-ranks")
    stack.callback(os.close, meeting)
    url = f"file:///proc/self/fd/{meeting}"
    started: list[_Started] = []
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for index in range(size):
        ours, theirs = map(stack.enter_context, Pipe())
        errors = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        rank = rank_started(index, size, url)
        pid = os.fork()
        if pid == 0:
            for link in (ours, *(each.link for each in started)):
                link.close()
            be_rank(rank, theirs, errors, partial(run, composed), composed)
        theirs.close()
        started.append(_Started(index, pid, ours, errors))
    return started


class _Team:
    """The ranks of a run, as seen by the process that started them."""

    def __init__(self, ranks: Sequence[_Started]) -> None:
        self._ranks = ranks
        self._first, self._others = ranks[0], ranks[1:]
        self.opened: Opened | None = None
        # How the first process that was lost ended.
        self.lost: str | None = None
        # What the first rank was told of another, and when that may have taken too long.
        self._told: Ended | None = None
        self._deadline: float | None = None
        self._num_sent = 0

    def watch(self, stop: StopRequest) -> None:
        """Wait until all have ended; pass signals on."""
        while any(rank.status is None for rank in self._ranks):
            try:
                self._look()
                if stop.heard and not self._num_sent:
                    self._send(stop.heard)
            except InterruptedRun as second:  # the second Ctrl-C
                self._send(second.exit_code - 128)

    def conclusion(self) -> tuple[Summary | None, BaseException | None]:
        """Return the summary of the run, or the error to raise."""
        ended = self._first.ended
        if ended is None or not ended.is_shown:
            self._show_errors()
        if ended is not None:
            return (ended.summary, None) if ended.exit_code == 0 else (None, ended.error())
        cause = self._told or Ended(
            ResourceError.exit_code, (f"{self.lost or 'rank 0 did not end'}; find out why, {AGAIN}",)
        )
        error = cause.error()
        if self.opened is not None and (summary := summary_of_finished(self.opened)):
            return summary, None
        if self.opened is not None:
            record_end(self.opened, error)
        return None, error

    def _look(self) -> None:
        """Take what the ranks say, notice those that ended, and end the others for them."""
        links = [rank.link for rank in self._ranks if not rank.link.closed]
        for link in wait(links, _TICK_SECONDS) if links else ():
            self._hear(next(rank for rank in self._ranks if rank.link is link))
        if not links:
            time.sleep(_TICK_SECONDS)
        for rank in self._ranks:
            if rank.status is None:
                pid, status = os.waitpid(rank.pid, os.WNOHANG)
                if pid:
                    while not rank.link.closed:
                        self._hear(rank)
                    rank.status = status
        self._react()

    def _hear(self, rank: _Started) -> None:
        """Take a message of a rank."""
        try:
            message = rank.link.recv()
        except (EOFError, OSError):
            rank.link.close()
            return
        if isinstance(message, Opened):
            self.opened = message
        elif isinstance(message, Ended):
            rank.ended = message
        elif isinstance(message, Left):
            rank.has_left = True

    def _react(self) -> None:
        """End the others where one has ended too early."""
        self.lost = self.lost or next((rank.loss for rank in self._ranks if rank.loss), None)
        if self._first.status is not None:
            for rank in self._others:
                rank.kill()
            return
        if self._told is None and (found := self._cause()) is not None:
            rank, cause = found
            self._told = cause
            with suppress(OSError):
                self._first.link.send(cause)
            for each in self._others:
                each.kill()
            # One that trained stopped together with the first.
            if cause.is_stopped and not rank.has_left and not self._num_sent:
                self._send(cause.exit_code - 128, to=[self._first])
            self._deadline = time.monotonic() + _PATIENCE_SECONDS
        if self._deadline is not None and time.monotonic() > self._deadline and not self._first.has_left:
            self._first.kill()

    def _cause(self) -> tuple[_Started, Ended] | None:
        """Return a rank other than the first for whose end the first must end too, and that end."""
        for rank in self._others:
            if rank.ended is not None and rank.ended.exit_code != 0:
                return rank, rank.ended
            if rank.loss is not None:
                return rank, Ended(ResourceError.exit_code, (f"{rank.loss}; find out why, {AGAIN}",))
        return None

    def _send(self, number: int, to: Sequence[_Started] | None = None) -> None:
        """Send a signal to all ranks that run."""
        self._num_sent += 1
        for rank in self._ranks if to is None else to:
            if rank.status is None:
                os.kill(rank.pid, number)

    def _show_errors(self) -> None:
        """Show what the ranks other than the first wrote to stderr, if they were lost or found a bug of ours."""
        for rank in self._others:
            if rank.loss is not None or (rank.ended is not None and rank.ended.exit_code == BUG):
                rank.errors.seek(0)
                lines = rank.errors.read().decode(errors="replace").splitlines()
                sys.stderr.writelines(f"{line}\n" for line in lines[-_NUM_LINES:])
