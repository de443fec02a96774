"""Processes that work ahead: started in one place, and ended in one, at once, however a run ends.

A worker has nothing to save, and may be stuck on a file that never answers: it is killed, and nothing waits long for
it. Each has its own pipe, so that a dying worker holds nothing that others need. When this process dies, even by
SIGKILL, its workers die too.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from nnrun.base import ending
from nnrun.base.errors import ResourceError
from nnrun.base.foreign_messages import ignore_pillow
from nnrun.base.signals import in_force
from nnrun.base.stopping import STOPPING
from nnrun.core.workers.pipes import readable, receive, send, widen

Item = TypeVar("Item")
Result = TypeVar("Result")

# How many results of one worker wait here; one more waits in its pipe.
_NUM_AHEAD = 2
# A killed process ends within milliseconds, unless it hangs on a disk that does not answer.
_FAREWELL_SECONDS = 1.0


@dataclass(frozen=True)
class Crew:
    """How many processes work ahead, what they do (`reads data ahead`), and what to try if one of them is killed."""

    num_workers: int
    does: str
    way_out: str
    pin_memory: bool = False


def in_order(work: Callable[[Item], Result], items: Sequence[Item], crew: Crew) -> Generator[Result, None, None]:
    """Yield `work(item)` for each item in order, computed ahead by processes; without any, computed here.

    An exception in a process is raised here, in its turn. Raises ResourceError if a process dies. Closing the generator
    ends the processes.
    """
    if crew.num_workers == 0:
        for item in items:
            yield _pinned(work(item)) if crew.pin_memory else work(item)
        return
    workers = _Workers(crew)
    try:
        workers.start(work, items)
        for number in range(len(items)):
            yield workers.result(number)
    finally:
        # A signal must not raise here, where its exception may be lost: removing the last reference closes a generator.
        with in_force().held():
            workers.end()
    in_force().catch_up()


@dataclass
class _Worker:
    """A process, our end of its pipe, how many results it has not sent yet, and those not taken yet."""

    process: BaseProcess
    pipe: Connection
    num_left: int
    waiting: deque[Any] = field(default_factory=deque)


# Our ends of the pipes of all workers: a forked child must not hold them open.
_PIPES: set[Connection] = set()
# All workers that have not been ended yet.
_LIVING: set[_Workers] = set()


def end_workers() -> None:
    """End all processes that work ahead, even if their results are still in use: a run is over."""
    while _LIVING:
        _LIVING.pop().end()


class _Workers:
    """Worker number n of N does the items n, n + N, n + 2N and so on."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._workers: list[_Worker] = []
        self._undoing = ending.at_the_end(self._kill)
        _LIVING.add(self)

    def start(self, work: Callable[[Item], Result], items: Sequence[Item]) -> None:
        """Start the processes, with signals that stop a run blocked in them.

        Terminals and schedulers send a signal to the whole group: only this process handles it.
        """
        # A Mac's libraries do not survive a fork.
        context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        number = min(self._crew.num_workers, len(items))
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            # Blocking is not enough for this process: its other threads still receive signals.
            with in_force().held():
                for first in range(number):
                    ours, theirs = context.Pipe(duplex=False)
                    _PIPES.add(ours)
                    part = items[first::number]
                    process = context.Process(target=_serve, args=(work, part, theirs, os.getpid()), daemon=True)
                    self._workers.append(_Worker(process, ours, len(part)))
                    with theirs, _without_main():
                        widen(theirs)
                        process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        in_force().catch_up()

    def result(self, number: int) -> Any:
        """Return the result of an item; meanwhile receive what other workers have ready."""
        wanted = self._workers[number % len(self._workers)]
        while not wanted.waiting:
            free = [worker for worker in self._workers if worker.num_left and len(worker.waiting) < _NUM_AHEAD]
            for worker in _ready(free):
                try:
                    worker.waiting.append(receive(worker.pipe.fileno(), self._crew.pin_memory))
                    worker.num_left -= 1
                except EOFError:
                    raise self._death_of(worker) from None
        is_done, value = wanted.waiting.popleft()
        if not is_done:
            raise value
        return value

    def _death_of(self, worker: _Worker) -> ResourceError:
        """Return the error for a worker that ended before its work was done."""
        worker.process.join(_FAREWELL_SECONDS)
        code = worker.process.exitcode
        how = f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed ({signal.Signals(-code).name})"
        why = ", perhaps because memory ran out" if code == -signal.SIGKILL else ""
        return ResourceError(
            f"a process that {self._crew.does} {how}{why}; saved files are intact: {self._crew.way_out}"
        )

    def end(self) -> None:
        """Kill the processes and wait until they are gone, but not for one that cannot be killed."""
        self._kill()
        deadline = time.monotonic() + _FAREWELL_SECONDS
        for worker in self._workers:
            if worker.process.pid is not None:
                worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                # At exit, Python waits for all child processes that it knows of.
                getattr(multiprocessing.process, "_children", set()).discard(worker.process)
            _PIPES.discard(worker.pipe)
            worker.pipe.close()
        self._workers.clear()
        _LIVING.discard(self)
        ending.forget(self._undoing)

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.process.pid is not None:
                worker.process.kill()


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep a process that is started in the block from importing the program itself, which would run again in each.

    Where processes are spawned, on a Mac, Python imports the program to find the classes in its file: there, a data set
    that processes read must be in a module. A fork imports nothing.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Wait until some workers have sent something, or have ended; return them."""
    by_pipe = {worker.pipe.fileno(): worker for worker in workers}
    return [by_pipe[pipe] for pipe in readable(list(by_pipe))]


def _serve(work: Callable[[Any], Any], items: Sequence[Any], pipe: Connection, parent: int) -> None:
    """Run a worker: send the result of each item, up to the first that fails."""
    ending.die_with_parent(parent)
    ignore_pillow()  # a spawned process has Python's default warning filters
    _LIVING.clear()
    for ours in _PIPES:
        ours.close()
    # The parent's threads do not exist in a fork.
    torch.set_num_threads(1)
    for item in items:
        try:
            answer = (True, work(item))
        except Exception as error:
            answer = (False, _portable(error))
        try:
            send(pipe.fileno(), answer)
        except BrokenPipeError:  # nobody reads any more
            break
        if not answer[0]:
            break
    # Skip the exit functions, which the parent has registered for itself.
    os._exit(0)


def _portable(error: Exception) -> Exception:
    """Return an exception in a form that can be sent, with a note of where it was raised."""
    error.add_note("".join(traceback.format_exception(error)).strip())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # some classes cannot be pickled
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _pinned(result: Any) -> Any:
    """Return a result with its tensors in pinned memory."""
    return tree_map(lambda value: value.pin_memory() if isinstance(value, Tensor) else value, result)
