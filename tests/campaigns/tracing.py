"""Count the system calls of a command, and let something happen to one of them: by strace, or without it.

strace follows the main thread: it counts the calls of each thread by themselves, and cannot name one. What threads do,
the writing of checkpoints beside the training, is tried by wrapping Python's calls.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from campaigns.campaign import Result
from campaigns.command import Command, find_main, name_of
from campaigns.nursery import Child, Nursery
from campaigns.subject import expect
from nnrun.base.files import DurableFile

# A thread's many small writes, which reach the disk together: one of so many is tried.
_WRITES_APART = 24
# What is done to a call, in strace's words.
FAILS, KILLS = "error=EIO", "signal=KILL"
# The system calls that change what is on a disk; not every machine has each.
TO_DISK = (
    *("openat", "creat", "write", "pwrite64", "writev", "fsync", "fdatasync", "fchmod", "chmod", "ftruncate"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "link", "linkat"),
)
# Where each can be got hold of in Python, for want of strace.
_IN_PYTHON: dict[str, tuple[object, str]] = {
    "openat": (os, "open"),
    "write": (DurableFile, "write"),
    "fsync": (os, "fsync"),
    "fchmod": (os, "fchmod"),
    "ftruncate": (os, "ftruncate"),
    "rename": (os, "rename"),
    "renameat": (os, "replace"),
    "unlink": (os, "unlink"),
    "mkdir": (os, "mkdir"),
}


@dataclass(frozen=True)
class Call:
    """The nth call, from 1, of a name."""

    name: str
    nth: int
    # Of the threads beside the main one, all together.
    in_thread: bool = False


def spread(calls: Sequence[Call], count: int, draw: random.Random) -> list[Call]:
    """Return `count` of the calls, one out of each of as many equal parts; 0: all."""
    if count == 0 or count >= len(calls):
        return list(calls)
    bounds = [number * len(calls) // count for number in range(count + 1)]
    return [calls[draw.randrange(*part)] for part in itertools.pairwise(bounds)]


class Tracer(Protocol):
    """Count the calls of a command, and let something happen to one of them."""

    def calls(self, fresh: Callable[[], Command], names: Sequence[str]) -> list[Call]:
        """Return the calls of these names that a command makes, prepared anew; raise Broken unless it ends well."""
        ...

    def start(self, command: Command, call: Call, effect: str) -> Child:
        """Run a command, to its end, with an effect on one call."""
        ...


def tracer_of(nursery: Nursery, folder: Path, result: Result) -> Tracer:
    """Return the best tracer that can be had here, and note which."""
    strace, wrapping = Strace(nursery, folder / "trace"), Wrapping(nursery, folder / "trace")
    try:
        strace.start(Command(idle, folder, ()), Call("fsync", 1), FAILS)
    except (FileNotFoundError, PermissionError) as error:
        result.notes.append(f"by wrapping Python's calls, since strace cannot be used: {error}")
        return wrapping
    result.notes.append("by strace")
    return Both(strace, replace(wrapping, threads_alone=True))


def idle(_words: Sequence[str]) -> int:
    """Return 0. (A child's main.)"""
    return 0


@dataclass(frozen=True)
class Both:
    """The main thread's calls by one tracer, those of the other threads by another."""

    main: Tracer
    threads: Tracer

    def calls(self, fresh: Callable[[], Command], names: Sequence[str]) -> list[Call]:
        of_threads = self.threads.calls(fresh, names)
        few = [call for call in of_threads if call.name != "write" or call.nth % _WRITES_APART == 1]
        return [*self.main.calls(fresh, names), *few]

    def start(self, command: Command, call: Call, effect: str) -> Child:
        return (self.threads if call.in_thread else self.main).start(command, call, effect)


@dataclass(frozen=True)
class Strace:
    """Linux's strace, attached to a child's main thread before its main is called. It sees calls as the kernel does."""

    nursery: Nursery
    trace: Path

    def calls(self, fresh: Callable[[], Command], names: Sequence[str]) -> list[Call]:
        child = self._follow(fresh(), "-e", "trace=" + ",".join(f"?{name}" for name in names))
        expect(child, 0)
        calls, counts = [], Counter[str]()
        for line in self.trace.read_text(errors="replace").splitlines():
            if called := re.match(r"(\w+)\(", line):
                name = called[1]
                counts[name] += 1
                if name != "openat" or "O_CREAT" in line:
                    calls.append(Call(name, counts[name]))
        return calls

    def start(self, command: Command, call: Call, effect: str) -> Child:
        inject = f"inject={call.name}:{effect}:when={call.nth}"
        return self._follow(command, "-e", f"trace={call.name}", "-e", inject)

    def _follow(self, command: Command, *options: str) -> Child:
        """Run a command under strace; raise FileNotFoundError or PermissionError where that cannot be done."""
        if shutil.which("strace") is None:
            raise FileNotFoundError("it is not installed")
        child = self.nursery.start(replace(command, is_held=True))
        child.wait_until_held()
        words = ["strace", "-p", str(child.pid), "-o", str(self.trace), *options]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            said = strace.stderr.readline()
            child.send(signal.SIGCONT)
            child.wait()
            strace.stderr.read()
        if "attached" not in said:
            raise PermissionError(said.strip())
        return child


@dataclass(frozen=True)
class Wrapping:
    """Python's own functions, wrapped in the child: what libraries in other languages call is not seen.

    `threads_alone`: the main thread's calls are not counted.
    """

    nursery: Nursery
    trace: Path
    threads_alone: bool = False

    def calls(self, fresh: Callable[[], Command], names: Sequence[str]) -> list[Call]:
        expect(self.start(fresh(), Call("", 0), FAILS), 0)
        calls, counts = [], Counter[str]()
        for name in self.trace.read_text().split():
            counts[name] += 1
            if name in names:
                calls.append(Call(name, counts[name], self.threads_alone))
        return calls

    def start(self, command: Command, call: Call, effect: str) -> Child:
        whose = "threads" if self.threads_alone else "all"
        words = (str(self.trace), call.name, str(call.nth), effect, whose, name_of(command.main), *command.words)
        child = self.nursery.start(replace(command, main=wrapped, words=words))
        child.wait()
        return child


def wrapped(words: Sequence[str]) -> int:
    """Call a main with Python's calls to the disk wrapped, and write down which there were. (A child's main.)"""
    trace, name, nth, effect, whose, main, *rest = words
    made: list[str] = []

    def wrap(called: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if whose == "threads" and threading.current_thread() is threading.main_thread():
                return original(*args, **kwargs)
            made.append(called)
            if called == name and made.count(name) == int(nth):
                if effect == KILLS:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return original(*args, **kwargs)

        return call

    for called, (owner, attribute) in _IN_PYTHON.items():
        setattr(owner, attribute, wrap(called, getattr(owner, attribute)))
    code = find_main(main)(rest)
    Path(trace).write_text("\n".join(made))
    return code
