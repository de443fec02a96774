"""Programs that find torch imported, which takes a second: they are forks of a process that has done it.

A stand-in for `subprocess.Popen`, for tests that are not about how an interpreter starts: the program is a process of
its own, with its own streams, folder, environment and signals. What cannot be had so is started as ever.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SERVER = Path(__file__).with_name("warm_server.py")
# What an interpreter, glibc or a library of torch reads as it starts: a server for each.
_READ_AT_START = ("PYTHON", "LANG", "LC_", "LD_", "MALLOC_", "OMP_", "MKL_", "KMP_", "TORCH")
_READ_LATER = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")


class Server:
    """The process that forks, as seen by the one that started it; it ends with this one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={name: value for name, value in environment.items() if name not in _READ_LATER},
                start_new_session=True,
            )
        assert ours.recv(16) == b"ready"
        self.pid = self._process.pid
        atexit.register(self.close)

    def close(self) -> None:
        """End the process."""
        self._requests.close()
        self._process.kill()
        self._process.wait()

    def is_alive(self) -> bool:
        """Return whether the process lives: a test may have ended every child of this one."""
        return self._process.poll() is None

    def start(self, job: dict[str, Any], streams: list[int]) -> tuple[int, int]:
        """Start a program; return its pid, and the pipe from which its wait status can be read."""
        status, writer = os.pipe()
        try:
            socket.send_fds(self._requests, [json.dumps(job).encode()], [*streams, writer])
        finally:
            os.close(writer)
        return int(self._requests.recv(32)), status


_servers: dict[frozenset[tuple[str, str]], Server] = {}
_ENDED = -1


def _server(environment: Mapping[str, str]) -> Server:
    """Return the server that started with the same in its environment, as far as that is read at a start."""
    read = {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}
    key = frozenset((name, value) for name, value in read.items() if name not in _READ_LATER)
    if key not in _servers or not _servers[key].is_alive():
        _servers[key] = Server(environment)
    return _servers[key]


def _program(words: list[str]) -> dict[str, Any] | None:
    """The part of a job that follows from the words of a command of Python's; None for what is not one of them.

    Nor for what tells of the packages that it has imported, as the proof of an ONNX file does: torch is none of them.
    """
    if words[0] != sys.executable or any(word == "onnx" or "sys.modules" in word for word in words):
        return None
    rest, isolated, quiet = words[1:], False, False
    while rest and rest[0] in {"-I", "-W"}:
        if rest[0] == "-I":
            isolated, rest = True, rest[1:]
        elif rest[1] == "ignore":
            quiet, rest = True, rest[2:]
        else:
            return None
    if not rest or (rest[0].startswith("-") and rest[0] not in {"-m", "-c"}):
        return None
    kind = rest.pop(0) if rest[0] in {"-m", "-c"} else "file"
    program, arguments = rest[0], rest[1:]
    first = {"-m": program, "-c": "-c", "file": program}[kind]
    return {
        "kind": kind,
        "program": program,
        "argv": [first, *arguments],
        "isolated": isolated,
        "ignores_warnings": quiet,
        "words": words,
    }


class WarmPopen(subprocess.Popen):
    """A process that is a fork of one that has imported torch, where that makes no difference."""

    _status: int | None = None

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, *rest: Any
    ) -> None:
        cwd, env, _, _, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *_, session, group = rest
        words = [args] if isinstance(args, str | bytes) else [os.fspath(word) for word in args]
        job = None if shell or executable or preexec_fn or pass_fds or group != -1 else _program(words)
        environment = dict(os.environ if env is None else env)
        if job is None:
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, *rest)
            return
        folder = os.path.abspath(cwd or ".")  # noqa: PTH100 - as it is, whether or not it is there
        if not os.path.isdir(folder):  # noqa: PTH112
            raise FileNotFoundError(2, os.strerror(2), folder)
        own = {"-m": folder, "-c": "", "file": os.path.dirname(os.path.join(folder, job["program"]))}[job["kind"]]  # noqa: PTH118, PTH120
        more = [os.path.join(folder, path) for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]  # noqa: PTH118
        job["path"] = [] if job.pop("isolated") else [own, *more]
        server = _server(environment)
        # The child's parent is the server, which ends with this process.
        job["argv"] = [str(server.pid) if word == str(os.getpid()) else word for word in job["argv"]]
        job |= {"folder": folder, "environment": environment, "new_session": bool(session)}
        streams = [given if given != -1 else own for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        self.pid, self._status = server.start(job, streams)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _internal_poll(self, *args: Any, **more: Any) -> int | None:
        if self._status is None:
            return super()._internal_poll(*args, **more)
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG) if self._status != _ENDED else (0, 0)
            if pid:
                self._handle_exitstatus(status)
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._status is None:
            return super()._try_wait(wait_flags)
        os.set_blocking(self._status, not wait_flags & os.WNOHANG)
        try:
            status = os.read(self._status, 4)
        except BlockingIOError:
            return 0, 0
        assert status, "the server has ended"
        os.close(self._status)
        self._status = _ENDED
        return self.pid, array.array("i", status)[0]
