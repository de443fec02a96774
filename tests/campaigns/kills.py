"""Campaigns against the promise that a run which is killed or stopped at any moment goes on to the same bits."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from campaigns.campaign import Arena, Broken, Result
from campaigns.subject import (
    Subject,
    check_files,
    disturb_each,
    expect,
    is_committed,
    state_of,
    wait_until_running,
)


def random_kills(arena: Arena, count: int) -> Result:
    """Kill runs at random moments, their start included, sometimes their resumption too, and let them go on."""
    return disturb_each(arena, count, Result("killed at random moments"), _kill)


def _kill(subject: Subject, run: Path, draw: random.Random, _number: int) -> None:
    """Kill a run and, once in three times, its resumption too, and again; then finish it."""
    child = subject.start(run)
    while True:
        time.sleep(draw.uniform(0, subject.seconds))
        child.send(signal.SIGKILL)
        expect(child, 0, -signal.SIGKILL)
        if not is_committed(run) or draw.random() < 2 / 3:
            break
        check_files(run)
        child = subject.resume(run)
    subject.finish(run)


def signals(arena: Arena, count: int) -> Result:
    """Send SIGTERM and SIGINT at random moments, to the run alone or to its workers too, and let the runs go on."""
    return disturb_each(arena, count, Result("stopped by signals"), _stop)


def _stop(subject: Subject, run: Path, draw: random.Random, _number: int) -> None:
    """Stop a run by a signal, and finish it."""
    sent = draw.choice([signal.SIGTERM, signal.SIGINT])
    child = subject.start(run)
    wait_until_running(child, run)
    time.sleep(draw.uniform(0, subject.running_seconds))
    child.send(sent, to_all=draw.random() < 0.5)
    num_rows = _num_rows(run)
    # Once the run has said that it is finished, the signal may find Python's own handlers again.
    code = expect(child, 0, 128 + sent, -sent)
    state = state_of(run)
    if code == 0 and _num_rows(run) > num_rows + 1:
        # Asked for between steps: only the last row of all, the test's, may come after the last time of asking.
        raise Broken("unexplained", f"{sent.name} was not heard: {_num_rows(run) - num_rows} rows came after it")
    if state != "finished" and (state, code) != ("interrupted", 128 + sent):
        raise Broken("unexplained", f"{sent.name}: exit code {code}, and status.json says {state!r}")
    subject.finish(run)


def _num_rows(run: Path) -> int:
    """Return how many rows of metrics a run has written."""
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0
