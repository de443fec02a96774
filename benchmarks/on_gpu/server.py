"""Run each part in a process forked from this one, which has imported what all need: importing takes seconds.

python -m on_gpu.server --device cuda --out OUT [--root DIR] [--dry]

Says on stdout when it is ready. Then reads a line of JSON for each part from stdin, {"part": "waits", "limit": 60}, and
answers with its exit code, null if its time limit ended it, and its seconds. This process itself never uses a GPU.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time

import torch

from nnrun.cli import compose
from on_gpu.part import Options, parse, run

# What a training imports when it starts, and the compiler, which torch's optimizers import.
_NEEDED = ("torchvision", "torch._dynamo", "nnrun.tasks.train.run", "nnrun.tasks.report.write", "nnrun.core.fitting")


def serve(options: Options) -> None:
    """Run parts until stdin ends."""
    for name in _NEEDED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    compose(["data=digits", "model=cnn"])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _be_part(asked["part"], options)
        code = _wait(pid, start + asked["limit"])
        print(json.dumps({"code": code, "seconds": round(time.monotonic() - start, 1)}), flush=True)


def _be_part(name: str, options: Options) -> None:
    """Run a part in this process, a fork, and end it; its output goes to the part's log."""
    code = 1
    try:
        os.setsid()
        log = os.open(options.out / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(log, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if options.device == "cuda" and not _has_cuda():
            command = [sys.executable, "-m", "on_gpu.part", name, *sys.argv[1:]]
            os.execv(sys.executable, command)
        code = run([name], options)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _has_cuda() -> bool:
    """Return whether CUDA works in this fork: it does not if anything has used it in the process before."""
    try:
        torch.cuda.init()
    except RuntimeError as error:
        print(f"a process of its own, since CUDA does not work in a fork: {error}", flush=True)
        return False
    return True


def _wait(pid: int, until: float) -> int | None:
    """Return a child's exit code, or None if it was killed at its time limit; what it started is killed too."""
    ended = 0
    while not ended and time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        time.sleep(0 if ended else 0.02)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    if ended:
        return os.waitstatus_to_exitcode(status)
    os.waitpid(pid, 0)
    return None


if __name__ == "__main__":
    serve(parse())
