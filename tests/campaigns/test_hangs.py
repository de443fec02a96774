"""The campaign against hanging finds nothing here, and finds a program that hangs, or leaves something behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace

import pytest

from campaigns import hangs as campaign
from campaigns.hangs import command_line, hangs
from campaigns.phases import PHASES
from campaigns.trials import FAULTS, SIGNALS
from nnrun.base import guard
from nnrun.base.signals import StopRequest
from nnrun.tasks import session

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the campaign looks for processes in /proc")
# This machine may be busy: what hangs is not over after so long either.
PATIENCE_SECONDS = 30.0


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "IN_TIME_SECONDS", PATIENCE_SECONDS)


def test_a_command_that_is_stopped_ends_and_leaves_nothing(arena):
    """The phases in which other processes work; `make torture` tries all of them."""
    result = hangs(replace(arena, seed=3), 5, ("decoding", "streaming", "proving", "predicting", "importing"))
    assert result.tried == 5
    assert result.ok, "\n".join(result.notes)


def test_there_are_more_than_800_combinations():
    assert len(PHASES) * len(SIGNALS) * len(FAULTS) > 800


def main_that_does_not_listen(words: Sequence[str]) -> int:
    StopRequest.receive = lambda *_: None
    guard.watch = lambda: None
    return command_line(words)


def main_that_starts_another(words: Sequence[str]) -> int:
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    return command_line(words)


def main_that_forgets_its_status(words: Sequence[str]) -> int:
    session.RunDir.end = lambda *_, **__: None
    return command_line(words)


def main_that_forgets_a_file(words: Sequence[str]) -> int:
    tempfile.mkdtemp(dir=os.environ["TMPDIR"])
    return command_line(words)


def main_that_fails(words: Sequence[str]) -> int:
    def receive(request: StopRequest, number: int, _: object) -> None:
        raise KeyError(number)

    StopRequest.receive = receive
    return command_line(words)


@pytest.mark.parametrize(
    ("main", "patience", "found"),
    [
        (main_that_does_not_listen, 1.0, "still there after 1 s: "),
        (main_that_starts_another, 1.0, "processes are left: "),
        (main_that_forgets_its_status, PATIENCE_SECONDS, "status.json says running"),
        (main_that_forgets_a_file, PATIENCE_SECONDS, "temporary files are left: "),
        # 70, or 2 where the network was running and is blamed.
        (main_that_fails, PATIENCE_SECONDS, "exit code "),
    ],
)
def test_negative_control_a_program_that_breaks_its_promise_is_found(arena, monkeypatch, main, patience, found):
    monkeypatch.setattr(campaign, "IN_TIME_SECONDS", patience)
    monkeypatch.setattr(campaign, "FAULTS", {"no fault": FAULTS["no fault"]})
    monkeypatch.setattr(campaign, "SIGNALS", {"TERM": SIGNALS["TERM"]})
    result = hangs(arena, 1, ("training",), main)
    assert (result.tried, result.unexplained) == (1, 1)
    assert found in result.notes[0]
