"""Threads that work ahead: the same results in the same order, and no waiting for a thread that is stuck."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from nnrun.base.errors import DataError
from nnrun.base.threads import in_threads


@pytest.mark.parametrize("number", [1, 2, 16])
def test_results_come_in_order_made_by_other_threads(number):
    found = list(in_threads(lambda item: (item, threading.current_thread()), range(50), number))
    assert [item for item, _ in found] == list(range(50))
    assert threading.main_thread() not in {thread for _, thread in found}


def test_only_some_items_are_begun_before_their_turn():
    begun: list[int] = []
    results = in_threads(begun.append, range(100), 2)
    next(results)
    time.sleep(0.05)
    assert max(begun) < 8
    results.close()
    time.sleep(0.05)
    assert len(begun) < 8, "nothing is begun for a run that is over"


def test_what_a_thread_raises_is_raised_in_its_turn():
    def work(item: int) -> int:
        if item == 2:
            raise DataError("the third")
        return item

    results = in_threads(work, range(9), 3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(DataError, match="the third"):
        next(results)


def test_a_thread_that_is_stuck_is_left_behind(tmp_path: Path):
    """Like a thread that reads a file on a network disk that is gone: nothing waits for it, not even Python's exit."""
    os.mkfifo(tmp_path / "never")
    files = [os.devnull, str(tmp_path / "never")]
    results = in_threads(lambda file: Path(file).read_bytes(), files, 2)
    assert next(results) == b""
    results.close()
    (stuck,) = [thread for thread in threading.enumerate() if "serve" in thread.name]
    assert stuck.daemon
    assert stuck.is_alive()
    (tmp_path / "never").write_bytes(b"")
    stuck.join(5)
    assert not stuck.is_alive()
