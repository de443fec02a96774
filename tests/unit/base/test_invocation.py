from __future__ import annotations

import sys
import threading

import pytest

from nnrun.base.invocation import called_from_python, invocation


def test_a_call_from_python_has_its_own_words_in_its_thread_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/program", "--flag"])
    seen = []
    with called_from_python(["seed=1"], quiet=True):
        assert (invocation().program, invocation().words, invocation().is_quiet) == ("nnrun", ("seed=1",), True)
        thread = threading.Thread(target=lambda: seen.append(invocation()))
        thread.start()
        thread.join()
    for called in (*seen, invocation()):
        assert (called.program, called.words, called.is_quiet) == ("program", ("--flag",), False)
