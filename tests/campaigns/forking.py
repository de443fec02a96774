"""The process that has imported torch once and forks a child for each command.

    python -m campaigns.forking

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
import sys
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

from campaigns.command import Main, find_main
from campaigns.variants import WORDS
from nnrun.base.stopping import STOPPING
from nnrun.config.compose import compose_config
from nnrun.config.rules import Rules
from nnrun.tasks.table import collect_tasks

# What takes a run long to import: the second is what every optimizer imports. Neither starts a thread, which no child
# would have.
_IMPORTED = ("nnrun.tasks.train.run", "torch._dynamo")
# prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY): some Linuxes let a process be traced by its ancestors alone.
_SET_TRACER, _ANYONE = 0x59616D61, ctypes.c_ulong(-1)


def serve() -> None:
    """Be the process: fork a child for each line of stdin, until its end."""
    for module in _IMPORTED:
        importlib.import_module(module)
    # What Hydra takes is most of a tiny run's start: children have what it learns, and what it makes of their words.
    for words in (WORDS, ()):
        compose_config(words, (), Rules.of({}, (), (), collect_tasks()))
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
        for number in STOPPING:
            # Who started the campaign may have them ignored, as a shell does for what it runs in the background.
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
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
