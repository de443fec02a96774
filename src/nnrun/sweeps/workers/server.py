"""The process that has imported torch once and forks a child for each job; where a fork is not safe, it spawns them.

    python -m nnrun.sweeps.workers.server DESCRIPTOR

It has one thread, and has used no device: what it forks can start both. It reads its socket, which a sweep holds, and
says there how each child ended; when the sweep is gone, it waits until the children have saved, and ends.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from nnrun.base.garbage import put_off_collection
from nnrun.base.stopping import STOPPING
from nnrun.sweeps.workers.messages import Channel
from nnrun.tasks.rules import collect_rules
from nnrun.tasks.table import collect_tasks

# How long children may take to save once the sweep is gone.
_GRACE_SECONDS = 120.0
_TICK_SECONDS = 0.5
# Words of the process of a job that was spawned, before its descriptor and the ignored signals.
_SPAWNED = "job"


@dataclass
class Server:
    """The children of this process by the number of their job, and the socket of the sweep."""

    channel: Channel
    forks: bool
    ignored: frozenset[int]
    children: dict[int, int] = field(default_factory=dict)
    # Python reaps a child whose object is gone.
    _spawned: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def serve(self, woken: int) -> None:
        """Start children and report their ends, until the sweep is gone and they have ended; `woken` hears of ends."""
        deadline = None
        while not self.channel.is_closed or self.children:
            waited_for = [woken] if self.channel.is_closed else [self.channel.fileno(), woken]
            ready = select.select(waited_for, [], [], _TICK_SECONDS)[0]
            if woken in ready:
                os.read(woken, 1 << 12)
            self._collect()
            if not self.channel.is_closed and self.channel.fileno() in ready:
                for message, _ in self.channel.ready():
                    self._obey(message)
            if self.channel.is_closed:
                deadline = deadline or time.monotonic() + _GRACE_SECONDS
                if time.monotonic() > deadline:
                    self._kill_all()

    def _obey(self, message: dict[str, object]) -> None:
        """Import modules, start a child, or send it a signal."""
        if names := message.get("preload"):
            assert isinstance(names, list), "as the launcher sends it"
            if self.forks:
                preload(names)
                self._share(names)
        elif "start" in message:
            number, descriptor = int(str(message["start"])), self.channel.descriptor()
            self.children[number] = self._start(descriptor)
            os.close(descriptor)
            self.channel.send({"started": number, "pid": self.children[number]})
        elif "kill" in message and (pid := self.children.get(int(str(message["kill"])))) is not None:
            os.kill(pid, signal.SIGKILL)

    def _share(self, names: Sequence[object]) -> None:
        """Start what jobs with these modules share, which each of them inherits."""
        from nnrun.tasks.for_sweeps import EXPORTER, begin_forking  # noqa: PLC0415 - imports torch, as is forked

        if EXPORTER.rpartition(".")[0] in names:
            begin_forking()

    def _start(self, descriptor: int) -> int:
        """Start the process of a job, which takes its order from a descriptor; return its pid."""
        if not self.forks:
            words = [_SPAWNED, str(descriptor), *map(str, sorted(self.ignored))]
            command = [sys.executable, "-m", "nnrun.sweeps.workers.server", *words]
            process = subprocess.Popen(command, pass_fds=[descriptor])
            self._spawned[process.pid] = process
            return process.pid
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.channel.close()
            become_job(descriptor, self.ignored, parent)
        return pid

    def _collect(self) -> None:
        """Report the children that have ended."""
        for number, pid in list(self.children.items()):
            ended, status, used = os.wait4(pid, os.WNOHANG)
            if ended:
                del self.children[number]
                if pid in self._spawned:
                    self._spawned.pop(pid).returncode = status
                told = {"ended": number, "status": os.waitstatus_to_exitcode(status), "peak": used.ru_maxrss}
                self.channel.send(told)

    def _kill_all(self) -> None:
        for pid in self.children.values():
            os.kill(pid, signal.SIGKILL)


def become_job(descriptor: int, ignored: frozenset[int], parent: int) -> None:
    """Be the process of a job; does not return."""
    from nnrun.sweeps.workers.job import run_job  # noqa: PLC0415 - imported already in what is forked

    run_job(Channel(socket.socket(fileno=descriptor)), ignored, parent)


def preload(names: Sequence[str]) -> None:
    """Import modules that the jobs will use; one that fails is left to the job, which reports it."""
    for name in names:
        with suppress(Exception):
            importlib.import_module(name)
    # Children share what is there now: their collections do not touch it.
    gc.freeze()


def main(words: Sequence[str]) -> None:
    """Be the process that starts jobs, or, where it spawns them, one of these."""
    if words[0] == _SPAWNED:
        become_job(int(words[1]), frozenset(map(int, words[2:])), os.getppid())
    ignored = frozenset(number for number in STOPPING if signal.getsignal(number) == signal.SIG_IGN)
    # The sweep takes signals, and says what is to be done; with it gone, the children are waited for.
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    put_off_collection()
    channel, forks = Channel(socket.socket(fileno=int(words[0]))), words[1] == "forks"
    if forks:
        # What a training imports takes most of a second.
        training = next(task for task in collect_tasks() if task.trains)
        preload([training.run.rpartition(".")[0], "nnrun.sweeps.workers.job"])
        collect_rules()
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    channel.send({"ready": True})
    Server(channel, forks, ignored).serve(woken)
    # Nothing is left to do, and taking torch apart would take a while.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
