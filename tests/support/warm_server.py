"""A Python that has imported torch once, and forks a child for each program: `support/warm.py` is the other side.

    python warm_server.py DESCRIPTOR

Each message of the socket is a program, with the descriptors of its standard streams and of a pipe; the answer is the
child's pid, and its wait status is written into the pipe when it ends.
"""

import array
import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import random
import runpy
import select
import signal
import socket
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import Any, NoReturn

_MOST_BYTES = 1 << 18


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork until the other side is gone; return in a child, with its program."""
    woken, waking = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking)
    pipes: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([requests, woken], [], [])
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 1 << 16)
            _reap(pipes)
        if requests not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(requests, _MOST_BYTES, 4)
        if not message:
            return None
        job = json.loads(message)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _become(job, descriptors[:3])
            return job
        pipes[pid] = descriptors[3]
        for descriptor in descriptors[:3]:
            os.close(descriptor)
        requests.send(str(pid).encode())


def _reap(pipes: dict[int, int]) -> None:
    """Report the children that have ended."""
    for pid in list(pipes):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            pipe = pipes.pop(pid)
            with contextlib.suppress(BrokenPipeError):
                os.write(pipe, array.array("i", [status]).tobytes())
            os.close(pipe)


def _become(job: dict[str, Any], streams: list[int]) -> None:
    """Be in the child what an interpreter that has just started would be."""
    if job["new_session"]:
        os.setsid()
    for target, descriptor in enumerate(streams):
        os.dup2(descriptor, target)
    os.closerange(3, 1024)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.dont_write_bytecode = bool(job["environment"].get("PYTHONDONTWRITEBYTECODE"))
    at_once = bool(job["environment"].get("PYTHONUNBUFFERED"))
    for name, descriptor, mode, errors in (
        ("stdin", 0, "r", "strict"),
        ("stdout", 1, "w", "strict"),
        ("stderr", 2, "w", "backslashreplace"),
    ):
        raw = open(descriptor, f"{mode}b", closefd=False)  # noqa: SIM115 - as long as the process
        by_line = name == "stderr" or os.isatty(descriptor)
        stream = io.TextIOWrapper(raw, "utf-8", errors, line_buffering=by_line, write_through=at_once)
        stream.mode = mode
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if job["ignores_warnings"]:
        warnings.simplefilter("ignore")
    random.seed()
    sys.modules["torch"].seed()
    sys.path[0:1] = job["path"]
    sys.argv, sys.orig_argv = job["argv"], job["words"]


def run(job: dict[str, Any]) -> None:
    """Run the program of a child as its main module."""
    module = types.ModuleType("__main__")
    module.__annotations__ = {}
    sys.modules["__main__"] = module
    if job["kind"] == "-m":
        runpy._run_module_as_main(job["program"])  # what `python -m` does
        return
    source, name = job["program"], "<string>"
    if job["kind"] == "file":
        source, name = Path(job["program"]).read_text(encoding="utf-8"), job["program"]
        module.__file__, module.__cached__ = name, None
    exec(compile(source, name, "exec"), module.__dict__)


def end(code: int) -> NoReturn:
    """End as an interpreter does, without taking apart what was imported, which takes a second."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    for _name in ("torch", "torch._dynamo", "torch.export"):
        importlib.import_module(_name)
    _requests = socket.socket(fileno=int(sys.argv[1]))
    gc.collect()
    gc.freeze()
    _requests.send(b"ready")
    if _job := serve(_requests):
        try:
            run(_job)
        except SystemExit as _ended:
            if _ended.code is not None and not isinstance(_ended.code, int):
                sys.stderr.write(f"{_ended.code}\n")
            end(_ended.code if isinstance(_ended.code, int) else int(_ended.code is not None))
        except Exception:
            sys.excepthook(*sys.exc_info())
            end(1)
        end(0)
