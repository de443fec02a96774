"""One piece of work at a time in a thread: in order, waited for; its exception is raised once; no thread remains."""

from __future__ import annotations

import threading

import pytest

from nnrun.base.background import Background


class Gate:
    """Work that blocks until it is released."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        self.failure = failure

    def __call__(self) -> None:
        self.begun.set()
        assert self.open.wait(10)
        if self.failure is not None:
            raise self.failure


def test_work_is_done_beside_the_caller_and_one_piece_after_the_other() -> None:
    background, gate, done = Background(), Gate(), []
    background.start(lambda: (gate(), done.append("first")))
    background.check()
    assert done == []
    threading.Timer(0.05, gate.open.set).start()
    background.start(lambda: done.append(f"second after {done}"))
    background.wait()
    assert done == ["first", "second after ['first']"]


@pytest.mark.parametrize("failure", [OSError("full"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("asked", ["check", "wait", "start"])
def test_what_the_work_raises_is_raised_to_the_caller_once(failure: BaseException, asked: str) -> None:
    background, gate, begun = Background(), Gate(failure), []
    background.start(gate)
    background.check()
    gate.open.set()
    assert background._is_idle.wait(10)
    with pytest.raises(type(failure)) as caught:
        background.start(lambda: begun.append(1)) if asked == "start" else getattr(background, asked)()
    assert caught.value is failure
    background.check()
    background.wait()
    assert begun == [], "what is begun on a failure would be lost behind it"


def test_waiting_ends_in_time_and_no_thread_is_left() -> None:
    before = threading.active_count()
    background, gate = Background(), Gate()
    background.start(gate)
    background.wait(0.01)
    assert not background._is_idle.is_set()
    gate.open.set()
    background.wait()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.name.endswith("(_do)"):
            thread.join(10)
    assert threading.active_count() == before


def test_where_no_thread_can_be_started_that_is_said_and_nothing_is_waited_for(monkeypatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    background = Background()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            background.start(lambda: None)
    background.wait()
    done: list[int] = []
    background.start(lambda: done.append(1))
    background.wait()
    assert done == [1]


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_signal_in_the_midst_of_a_start_leaves_nothing_to_wait_for_in_vain(
    is_begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal may come before or after the thread starts; if after, the work is done as usual, and waited for."""
    background, gate, done = Background(), Gate(), []
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if is_begun:
            begin(thread)
            assert gate.begun.wait(10)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading.Thread, "start", start)
        background.start(lambda: (gate(), done.append(1)))
    assert background._is_idle.is_set() is not is_begun
    gate.open.set()
    assert background._is_idle.wait(10)
    assert done == ([1] if is_begun else [])
