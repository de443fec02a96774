"""Saving beside the training: it goes on while a save is written, and no failure of one is passed over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nnrun.base.errors import InterruptedRun, ResourceError
from nnrun.components.callbacks.checkpointing import Checkpointing
from nnrun.core.loop import fit
from nnrun.core.seams.callback import Callback
from support.small_training import Small


class Folder:
    """In the place of a run's folder: the weights that are saved, each once `gate` lets it through."""

    def __init__(self, gate: Callable[[int], None]) -> None:
        self.gate = gate
        self.saved: dict[int, torch.Tensor] = {}
        self.is_abandoned = False
        self.manifest = SimpleNamespace(last=None)

    def save(self, payload: Any, step: int, *, is_best: bool) -> None:
        self.gate(step)
        self.saved[step] = payload["model"]["0.weight"].clone()

    def check_room(self) -> None:
        pass

    def abandon(self) -> None:
        self.is_abandoned = True


class Watch(Callback):
    """Note what is saved after each step, and the weights that it gives."""

    def __init__(self, folder: Folder, after: Callable[[int], None]) -> None:
        self.folder, self.after = folder, after
        self.seen: dict[int, list[int]] = {}
        self.weights: dict[int, torch.Tensor] = {}

    def on_step_end(self, state: Any) -> None:
        step = state.progress.step
        self.seen[step] = sorted(self.folder.saved)
        self.weights[step] = state.network[0].weight.detach().clone()
        self.after(step)


def training(folder: Folder, after: Callable[[int], None] = lambda _: None) -> tuple[Small, Checkpointing, Watch]:
    """8 steps, with a save after each second one."""
    saving = Checkpointing(folder, 2, lambda state: {"model": state.network.state_dict()})  # type: ignore[arg-type, typeddict-item]
    watch = Watch(folder, after)
    return Small(num_samples=64, callbacks=[watch, saving]), saving, watch


def test_steps_go_on_while_a_save_is_written_and_what_is_written_is_its_own_step() -> None:
    """Negative control: a save that is waited for could not be behind the step after it."""
    gate = threading.Event()
    folder = Folder(lambda step: step != 2 or gate.wait(10) or None)  # type: ignore[arg-type, return-value]
    small, saving, watch = training(folder, lambda step: gate.set() if step == 3 else None)
    with saving:
        fit(small.state, small.work, small.plan)
    assert watch.seen[3] == [0], "the save of step 2 is under way"
    assert list(folder.saved) == [0, 2, 4, 6, 8], "one after the other, and all at the end"
    for step in (2, 4, 6):
        assert torch.equal(folder.saved[step], watch.weights[step])
        assert not torch.equal(folder.saved[step], watch.weights[step + 1])
    clock = small.state.clock
    assert clock.writing_seconds > 0
    assert clock.saving_seconds > 0


def refuse(at: int) -> Callable[[int], None]:
    def gate(step: int) -> None:
        if step == at:
            raise ResourceError("the disk is full")

    return gate


@pytest.mark.parametrize(("at", "last_step"), [(0, 1), (4, 5), (8, 8)])
def test_a_save_that_fails_ends_the_training_after_the_next_step_or_at_its_end(at: int, last_step: int) -> None:
    folder = Folder(refuse(at))
    small, saving, watch = training(folder, lambda _: saving._writing._is_idle.wait(10))
    with pytest.raises(ResourceError, match="the disk is full"), saving:
        fit(small.state, small.work, small.plan)
    assert max(watch.seen) == last_step
    assert max(folder.saved, default=None) == (at - 2 if at else None), "nothing is saved behind it"
    saving.finish(small.state)


@pytest.mark.parametrize(("error", "abandons"), [(InterruptedRun(2, at_once=True), True), (ValueError("a bug"), False)])
def test_what_ends_a_training_waits_for_the_write_but_a_second_ctrl_c(error: BaseException, abandons: bool) -> None:
    """What is raised is what ended the training, though the write fails after that."""
    gate = threading.Event()

    def fail(step: int) -> None:
        if step == 2:
            assert gate.wait(10)
            raise ResourceError("the disk is full")

    def stop(step: int) -> None:
        if step == 3:
            if not abandons:
                threading.Timer(0.05, gate.set).start()
            raise error

    folder = Folder(fail)
    small, saving, _ = training(folder, stop)
    with pytest.raises(type(error)) as caught, saving:
        fit(small.state, small.work, small.plan)
    assert caught.value is error
    assert folder.is_abandoned is abandons
    assert saving._writing._is_idle.is_set() is not abandons
    gate.set()
