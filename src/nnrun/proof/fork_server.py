"""Fork a process for each artifact from one that has imported the packages of its format: a script, like runner.py.

Called as `python -I fork_server.py DESCRIPTOR PACKAGE...`; the other side is `nnrun.proof.forked`. A message on the
socket asks for a process: it has the words of runner.py, its folder, and the descriptors of its input, output and
errors. A fourth, a socket, says afterwards how the process ended; the other side writes there to have it killed, or
closes it. When all other sides of DESCRIPTOR are gone, this process ends.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

_MOST_BYTES, _NUM_DESCRIPTORS = 1 << 16, 4


def main(descriptor: str, *packages: str) -> None:
    """Import the packages, and fork processes until nobody is left who could ask for one."""
    for name in packages:
        with contextlib.suppress(Exception):  # the process of an artifact reports it
            importlib.import_module(name)
    runner = runpy.run_path(str(Path(__file__).with_name("runner.py")))
    requests = socket.socket(fileno=int(descriptor))
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, tuple[socket.socket, str]] = {}
    while True:
        watched = {life.fileno(): pid for pid, (life, _) in children.items()}
        ready = set(select.select([requests.fileno(), woken, *watched], [], [])[0])
        if woken in ready:
            os.read(woken, 1 << 12)
        for pid in [watched[life] for life in ready & set(watched)]:
            with contextlib.suppress(OSError):
                if not children[pid][0].recv(1):  # whoever asked for it is gone
                    shutil.rmtree(children[pid][1], ignore_errors=True)
            os.kill(pid, signal.SIGKILL)
            _tell(children.pop(pid)[0], os.waitpid(pid, 0)[1])
        for pid in list(children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _tell(children.pop(pid)[0], status)
        if requests.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(requests, _MOST_BYTES, _NUM_DESCRIPTORS)
            if not message:
                break
            request = json.loads(message)
            pid = os.fork()
            if pid == 0:
                _become(runner, request, descriptors, [requests, *(life for life, _ in children.values())])
            for each in descriptors[:-1]:
                os.close(each)
            children[pid] = socket.socket(fileno=descriptors[-1]), request["folder"]


def _tell(life: socket.socket, status: int) -> None:
    """Say how a process ended."""
    with contextlib.suppress(OSError):
        life.send(str(os.waitstatus_to_exitcode(status)).encode())
    life.close()


def _become(
    runner: dict[str, Any], request: dict[str, Any], descriptors: Sequence[int], others: Sequence[socket.socket]
) -> NoReturn:
    """Be the process of an artifact."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for number, each in enumerate(descriptors[:-1]):
            os.dup2(each, number)
        for each in descriptors:
            os.close(each)
        for other in others:
            other.close()
        os.chdir(request["folder"])
        runner["main"](*request["words"], str(os.getppid()))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
