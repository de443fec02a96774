"""A process that has imported torch once and forks a child for each command: runs start at once, and can be killed.

    python -m nnrun.doctor.nursery

It reads a command a line, as JSON, and answers with two lines: the child's pid, and how the child ended. One child
lives at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from nnrun.compose import compose
from nnrun.doctor.campaign import Arena, Main

# What takes a run long to import: the second is what every optimizer imports. Neither starts a thread, which no child
# would have.
_IMPORTED = ("nnrun.run", "torch._dynamo")
# A run of a campaign takes about a second: one that takes so long hangs.
HANGS_AFTER_SECONDS = 300.0
# prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY): some Linuxes let a process be traced by its ancestors alone.
_SET_TRACER, _ANYONE = 0x59616D61, ctypes.c_ulong(-1)


@dataclass(frozen=True)
class Command:
    """What a child does: call `main`, a function of a module, with words, in a folder, and exit with what it returns.

    `max_file_bytes`: no file may become larger (RLIMIT_FSIZE). `is_bound`: permissions hold for it even if it is root.
    `is_held`: it stops before the call, until SIGCONT comes.
    """

    main: Main
    folder: Path
    words: Sequence[str]
    max_file_bytes: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    is_bound: bool = False
    is_held: bool = False

    def to_line(self) -> str:
        """Return the command as a nursery reads it."""
        main = name_of(self.main)
        return json.dumps(vars(self) | {"main": main, "folder": str(self.folder), "words": list(self.words)}) + "\n"


def name_of(main: Main) -> str:
    """Return the name by which another process finds a function of a module."""
    return f"{main.__module__}:{main.__qualname__}"


def find_main(name: str) -> Main:
    """Return the function that `name_of` names."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


class Nursery:
    """The process that forks, as seen by who sends it commands: a context manager.

    `before` are words before the process's own: a program that changes its surroundings and then becomes it.
    Raises ChildProcessError, with what was said on stderr, where the process does not come up.
    """

    def __init__(self, before: Sequence[str] = ()) -> None:
        self._before = before
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the nursery
        self._answers = b""
        self._child: Child | None = None

    def __enter__(self) -> Nursery:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NNRUN_")}
        own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        words = [*self._before, sys.executable, "-m", "nnrun.doctor.nursery"]
        # Ctrl-C at the terminal is for the campaign, which ends the nursery: hence a session of its own.
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env=kept | own,
            bufsize=0,
            start_new_session=True,
        )
        try:
            self.answer(HANGS_AFTER_SECONDS)
        except (ChildProcessError, TimeoutError):
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.kill()
        self._process.kill()
        self._process.communicate()

    def start(self, command: Command) -> Child:
        """Start a child; the one before must have been waited for."""
        assert self._child is None, "one child lives at a time"
        assert self._process.stdin is not None
        self._process.stdin.write(command.to_line().encode())
        self._child = Child(self, self.answer(HANGS_AFTER_SECONDS))
        return self._child

    def seen(self, path: Path) -> Path:
        """Return where this process sees a path of the nursery's, which may have mounted something of its own."""
        return Path(f"/proc/{self._process.pid}/root", *path.parts[1:]) if self._before else path

    def forget(self) -> None:
        """Take note that the child was waited for."""
        self._child = None

    def answer(self, patience_seconds: float) -> Any:
        """Return what the process says next; raise TimeoutError where it says nothing for so long."""
        assert self._process.stdout is not None
        while b"\n" not in self._answers:
            if not select.select([self._process.stdout], [], [], patience_seconds)[0]:
                raise TimeoutError
            said = os.read(self._process.stdout.fileno(), 1 << 16)
            if not said:
                self._complaints.seek(0)
                raise ChildProcessError(self._complaints.read().decode(errors="replace").strip() or "it ended")
            self._answers += said
        line, _, self._answers = self._answers.partition(b"\n")
        return json.loads(line)


class Child:
    """A command under way in a process of its own, the leader of its group."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        # Known once it was waited for: as subprocess has it, a signal's number below zero.
        self.code: int | None = None
        self.stderr = ""

    def send(self, number: int, *, to_all: bool = False) -> None:
        """Send a signal, or leave it where the child has ended: to it alone, or, as a terminal does, to its group."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if to_all else os.kill)(self.pid, number)

    def kill(self) -> None:
        """Kill the child and its group, which it may not lead yet."""
        self.send(signal.SIGKILL)
        self.send(signal.SIGKILL, to_all=True)

    def is_alive(self) -> bool:
        """Return whether the child has not ended yet."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def wait_until_held(self) -> None:
        """Wait until a child that was to be held has stopped. Linux only."""
        while Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)

    def wait(self) -> int:
        """Wait for the end and return the exit code; a child that hangs is killed."""
        if self.code is None:
            try:
                answer = self._nursery.answer(HANGS_AFTER_SECONDS)
            except TimeoutError:
                self.kill()
                answer = self._nursery.answer(HANGS_AFTER_SECONDS)
            self.code, self.stderr = answer
            self._nursery.forget()
        assert self.code is not None
        return self.code


@contextlib.contextmanager
def nursery_of(arena: Arena) -> Iterator[Nursery]:
    """Yield the arena's nursery, or one that lives as long as the block."""
    if arena.nursery is not None:
        yield arena.nursery
    else:
        with Nursery() as nursery:
            yield nursery


def serve() -> None:
    """Be the process: fork a child for each line of stdin, until its end."""
    for module in _IMPORTED:
        importlib.import_module(module)
    # What Hydra's parsers learn when they are first used is most of a tiny run's start.
    compose(("model=mlp",), ())
    _say("ready")
    for line in sys.stdin:
        command = json.loads(line)
        main = find_main(command["main"])
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            _obey(command, main, writer)
        os.close(writer)
        _say(pid)
        _say(_follow(pid, reader))
        os.close(reader)


def _say(answer: Any) -> None:
    """Write an answer."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _obey(command: Mapping[str, Any], main: Main, stderr: int) -> NoReturn:
    """Be the child."""
    code = 1
    try:
        os.setpgrp()
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor, target in ((silence, 0), (silence, 1), (stderr, 2)):
            os.dup2(descriptor, target)
        os.chdir(command["folder"])
        os.environ.update(command["environment"])
        if command["max_file_bytes"] is not None:
            # Python ignores SIGXFSZ: a write beyond the limit fails with EFBIG.
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (command["max_file_bytes"], hard))
        if command["is_bound"]:
            _give_up_capabilities()
        if command["is_held"]:
            ctypes.CDLL(None).prctl(_SET_TRACER, _ANYONE, 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
        code = main(command["words"])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _give_up_capabilities() -> None:
    """Give up what lets root pass permissions by, where the system has capabilities: see capset(2)."""
    version_3, this_process = 0x20080522, 0
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(version_3, this_process), (ctypes.c_uint32 * 6)())


def _follow(pid: int, stderr: int) -> tuple[int, str]:
    """Wait for a child; return its exit code and what it wrote to stderr, read all along: a full pipe would hold it up.

    Not until the end of the pipe: processes that read data ahead outlive a killed run, and hold it open.
    """
    os.set_blocking(stderr, False)
    written = b""
    while True:
        select.select([stderr], [], [], 0.01)
        ended, status = os.waitpid(pid, os.WNOHANG)
        with contextlib.suppress(BlockingIOError):
            while part := os.read(stderr, 1 << 16):
                written += part
        if ended:
            return os.waitstatus_to_exitcode(status), written.decode(errors="replace")


if __name__ == "__main__":
    serve()
