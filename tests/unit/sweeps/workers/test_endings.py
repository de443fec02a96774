"""How the end of a job's process is told: what a signal stopped is not failed, and is resumed with its sweep."""

from __future__ import annotations

import signal

import pytest

from nnrun.base.errors import InterruptedRun
from nnrun.sweeps.workers import job
from nnrun.sweeps.workers.endings import ending_of


@pytest.mark.parametrize(
    ("status", "code"),
    [(3, 70), (70, 70), (143, 143), (130, 143), (-signal.SIGTERM, 143), (-signal.SIGKILL, 5), (-signal.SIGSEGV, 70)],
)
def test_the_exit_code_of_a_job_whose_process_said_nothing(status, code):
    assert ending_of(status).exit_code == code


def test_a_job_that_is_stopped_before_its_run_begins_is_interrupted(monkeypatch):
    class Silent:
        def wait(self):
            return {}, b""

    def obey(*_):
        raise InterruptedRun(signal.SIGTERM)

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(job, "_take_signals", lambda *_: None)
    monkeypatch.setattr(job, "_obey", obey)
    monkeypatch.setattr(job, "leave_with", leave)
    with pytest.raises(SystemExit) as ended:
        job.run_job(Silent(), frozenset(), 0)
    assert ended.value.code == 143
