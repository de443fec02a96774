"""The process of one job: it takes its order from a socket, tells of its validations there, and of its end.

The process that checks all jobs before they start begins in the same way.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from nnrun.base.ending import die_with_parent
from nnrun.base.errors import BUG, InterruptedRun
from nnrun.base.foreign_messages import guard_libraries, show_traceback
from nnrun.base.guard import guard, leave_with, watch
from nnrun.base.invocation import called_from_python
from nnrun.base.listening import Validated, heard_by
from nnrun.base.paths import alone, inside
from nnrun.base.shelf import sharing
from nnrun.base.signals import in_force, stop_request
from nnrun.base.stopping import STOPPING
from nnrun.base.streams import write_any_character
from nnrun.sweeps.frozen import thaw
from nnrun.sweeps.orders import as_message, carry_out
from nnrun.sweeps.seams import Decision, Order
from nnrun.sweeps.workers.borrowed import Borrowed
from nnrun.sweeps.workers.checking import check_as_told
from nnrun.sweeps.workers.messages import Channel
from nnrun.tasks.for_sweeps import use_threads
from nnrun.tasks.rules import collect_rules

# How often a job that waits for an answer looks whether it was told to stop.
_LOOK_SECONDS = 0.2
# Whose modules the process that forks imports, once a job has shown that jobs use them. What a user's own do when they
# are imported is not known; torch's compiler starts processes.
_SHARED = ("nnrun.", "torch.", "PIL.", "omegaconf.", "hydra.", "numpy.", "encodings.", "antlr4.")
_NOT_SHARED = ("torch._inductor",)
# How long a job may take to save once the sweep is gone.
_ORPHAN_SECONDS = 120.0


def run_job(channel: Channel, ignored: frozenset[int], parent: int) -> NoReturn:
    """Be the process of a job, from its order to its exit; `ignored` are signals that the sweep ignores.

    `parent` is the pid of the process that started this one.
    """
    # Where this raises, there is nobody to tell but the sweep, which sees that the process ended.
    try:
        _take_signals(ignored, parent)
        asked = channel.wait()
        if asked is None:
            os._exit(1)
        code = _obey(channel, *asked) if "checks" not in asked[0] else check_as_told(channel, *asked)
    except InterruptedRun as interrupted:  # before its run began, or after its end
        code = interrupted.exit_code
    except BaseException:
        show_traceback()
        code = BUG
    leave_with(code)


def _take_signals(ignored: frozenset[int], parent: int) -> None:
    """Stop on signals, as a command does, but for Ctrl-C: the sweep takes that, and asks its jobs to stop, once."""
    die_with_parent(parent, signal.SIGTERM)
    for number in set(STOPPING) - {signal.SIGINT} - ignored:
        signal.signal(number, signal.SIG_DFL)
    guard()
    watch()


def _obey(channel: Channel, message: Mapping[str, Any], content: bytes) -> int:
    """Carry out an order; return the exit code."""
    composed = thaw(content, collect_rules()) if content else None
    order = Order(message["number"], message["words"], Path(message["directory"]), message["resumes"], composed)
    os.environ.update(message["environment"])
    if message["threads"]:
        use_threads(message["threads"])
    _write_to(order.directory)
    guard_libraries(is_quiet=False)
    before = set(sys.modules)
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    borrowed = Borrowed(channel)
    threading.Thread(target=_listen, args=(channel, answers.put, borrowed.hear), daemon=True).start()

    def tell(validated: Validated) -> None:
        awaits = message["asks"] and not validated.is_last
        told = {
            "epoch": validated.epoch,
            "step": validated.step,
            "metrics": dict(validated.metrics),
            "awaits": awaits,
            "device_bytes": validated.device_bytes,
        }
        channel.send({"progress": told})
        if awaits and _answer(answers) != Decision.GO_ON:
            in_force().note(signal.SIGTERM)

    with called_from_python(message["invocation"], quiet=True), stop_request(), heard_by(tell), sharing(borrowed):
        own = [Path(folder) for folder in message["own"]]
        ended = carry_out(_threads_said(order), own, collect_rules())
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    late = [name for name in set(sys.modules) - before if name.startswith(_SHARED)]
    channel.send({"ended": as_message(ended), "modules": [it for it in late if not it.startswith(_NOT_SHARED)]})
    return ended.exit_code


def _threads_said(order: Order) -> Order:
    """Tell libraries, and the processes that the job starts, of a number of threads that the job itself sets."""
    threads = order.composed.resolved()["trainer"]["threads"] if order.composed else "auto"
    if threads != "auto":
        os.environ["OMP_NUM_THREADS"] = str(threads)
    return order


def _write_to(directory: Path) -> None:
    """Send what the process prints to the end of the job's run.log, where its console writes too."""
    log = os.open(alone(inside(directory, "run.log")), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", line_buffering=True)
    write_any_character()
    faulthandler.enable()


def _listen(channel: Channel, take: Callable[[str], None], borrow: Callable[[bool], None]) -> None:
    """Take answers; when the sweep asks to stop, or is gone, stop as on SIGTERM."""
    while (received := channel.wait()) is not None:
        message, _ = received
        if "answer" in message:
            take(message["answer"])
        if "lent" in message:
            borrow(message["lent"])
        if message.get("stops"):
            os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_ORPHAN_SECONDS)
    os._exit(128 + signal.SIGTERM)


def _answer(answers: queue.SimpleQueue[str]) -> str:
    """Wait for the answer to a validation; a signal does not wait for it."""
    while in_force().heard is None:
        with contextlib.suppress(queue.Empty):
            return answers.get(timeout=_LOOK_SECONDS)
    return Decision.GO_ON
