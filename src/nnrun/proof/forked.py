"""Processes that run artifacts, forked from one that has imported ONNX Runtime: a sweep verifies many of them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_SCRIPT = Path(__file__).parent / "fork_server.py"
# What a process of ONNX Runtime imports; it is most of its time.
_PACKAGES = ("numpy", "onnxruntime")
FORMAT = "onnx"
_FAREWELL_SECONDS = 2.0


class ForkedProcess:
    """A process like one of `subprocess.Popen`, as far as its user here needs it."""

    def __init__(self, server: socket.socket, words: Sequence[str], errors: IO[bytes], folder: str) -> None:
        self.returncode: int | None = None
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        self.stdin, self.stdout = os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb")
        self._life, theirs = socket.socketpair()
        message = json.dumps({"words": list(words), "folder": folder}).encode()
        try:
            socket.send_fds(server, [message], [theirs_in, theirs_out, errors.fileno(), theirs.fileno()])
        except OSError:
            for pipe in (self.stdin, self.stdout, self._life):
                pipe.close()
            raise
        finally:
            for end in (theirs_in, theirs_out):
                os.close(end)
            theirs.close()

    def answers_within(self, seconds: float) -> bool:
        """Return whether it has written something, or has ended, within so many seconds."""
        return bool(select.select([self.stdout], [], [], seconds)[0])

    def kill(self) -> None:
        """End it at once."""
        if self.returncode is None:
            with contextlib.suppress(OSError):
                self._life.send(b"k")

    def wait(self) -> int:
        """Wait for its end, and return its exit code; a signal's number is negative."""
        if self.returncode is None:
            with contextlib.suppress(OSError):
                self.returncode = int(self._life.recv(1 << 6) or -signal.SIGKILL)
            self._life.close()
        return self.returncode if self.returncode is not None else -signal.SIGKILL


# The process that forks, if there is one, and our end of its socket. A forked child of ours uses it too.
_SERVER: list[tuple[subprocess.Popen[bytes], socket.socket]] = []


def begin_forking() -> None:
    """Have processes forked from now on: start the one that forks, which imports while this one goes on."""
    if _SERVER or sys.platform != "linux":
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-W", "ignore", str(_SCRIPT), str(theirs.fileno()), *_PACKAGES],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            # numpy starts threads as it is imported; artifacts are told how many to use.
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    _SERVER.append((process, ours))


def end_forking() -> None:
    """End the process that forks; those that it forked for other processes go on."""
    while _SERVER:
        process, ours = _SERVER.pop()
        ours.close()
        try:
            process.wait(_FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def forked(format_name: str, words: Sequence[str], errors: IO[bytes], folder: str) -> ForkedProcess | None:
    """Return a new process for an artifact; None if processes of its format are not forked."""
    if format_name != FORMAT or not _SERVER:
        return None
    try:
        return ForkedProcess(_SERVER[-1][1], words, errors, folder)
    except OSError:  # it is gone
        _SERVER.clear()
        return None
