"""How many threads compute: the setting, the machine's own number, what a variable says, and what a checkpoint says."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nnrun.assembly import threads as module
from nnrun.assembly.threads import choose_threads, forget_threads


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A quiet machine of two cores, on which nobody has set a variable, and torch uses one thread."""
    before = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "num_cores", lambda: 2)
    monkeypatch.setattr(module, "num_others_in_the_way", lambda threads: 0)
    forget_threads()
    torch.set_num_threads(1)
    yield
    forget_threads()
    torch.set_num_threads(before)


def job(threads: Any, *, saved: bool = False, resumed: bool = False, typed: bool = False, device: str = "cpu") -> Any:
    composed = SimpleNamespace(
        saved_in="run" if saved else None, resumed="run" if resumed else None, repeated=None, named=lambda key: typed
    )
    settings = SimpleNamespace(trainer=SimpleNamespace(threads=threads))
    return SimpleNamespace(composed=composed, settings=settings, device=torch.device(device), trains=True)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (job("auto"), 1),
        (job(2), 2),
        # Of a checkpoint alone it is another machine's, unless the run goes on.
        (job(2, saved=True), 1),
        (job(2, saved=True, typed=True), 2),
        (job(2, saved=True, resumed=True), 2),
        (job(2, saved=True, resumed=True, device="cuda"), 1),
    ],
)
def test_the_number_is_the_settings_or_the_machines_own(asked: Any, expected: int) -> None:
    choose_threads(asked)
    assert torch.get_num_threads() == expected


def test_auto_uses_no_more_than_the_process_may_unless_a_variable_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(3)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert choose_threads(job("auto")) == []
    assert torch.get_num_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    choose_threads(job("auto"))
    assert torch.get_num_threads() == 2


def test_the_next_job_of_a_sweep_finds_what_the_first_one_did() -> None:
    """Negative control: a number that the program itself sets is its own."""
    for threads, expected in ((2, 2), ("auto", 1), (2, 2), (1, 1), ("auto", 1)):
        choose_threads(job(threads))
        assert torch.get_num_threads() == expected
    forget_threads()
    torch.set_num_threads(2)
    choose_threads(job("auto"))
    assert torch.get_num_threads() == 2


def test_a_clash_with_a_variable_and_a_number_of_old_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_threads(job(2)) == []
    (note,) = choose_threads(job(2, saved=True, resumed=True))
    assert note.startswith("using 2 threads, as the run did")
    with monkeypatch.context() as patched:
        patched.setattr(module, "_found_threads", lambda: 2)
        assert choose_threads(job(1, saved=True, resumed=True))[0].startswith("using 1 thread, as the run did")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert choose_threads(job(2)) == ["trainer.threads=2 overrides OMP_NUM_THREADS=1"]
    assert choose_threads(job(1)) == []


def test_a_busy_machine_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: one thread has nobody of its own to wait for."""
    monkeypatch.setattr(module, "num_others_in_the_way", lambda threads: 3)
    (note,) = choose_threads(job(2))
    assert "3 threads of other programs" in note
    assert "trainer.threads=1" in note
    assert choose_threads(job(1)) == []


def test_a_busy_machine_is_said_of_a_training_once_in_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs of a sweep are one command; an evaluation is short. Negative control: another command says it again."""
    monkeypatch.setattr(module, "num_others_in_the_way", lambda threads: 3)
    evaluation = job(2)
    evaluation.trains = False
    assert choose_threads(evaluation) == []
    assert [len(choose_threads(job(2))) for _ in range(3)] == [1, 0, 0]
    forget_threads()
    assert len(choose_threads(job(2))) == 1
