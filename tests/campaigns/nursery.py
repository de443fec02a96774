"""A process that forks a child for each command, as seen by who sends it commands: runs start at once."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from campaigns.command import Command

# A run of a campaign takes about a second: one that takes so long hangs.
HANGS_AFTER_SECONDS = 300.0


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
        words = [*self._before, sys.executable, "-m", "campaigns.forking"]
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

    def end_child(self) -> None:
        """End a child that nobody has waited for: who found that it broke a promise may have left it."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

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
