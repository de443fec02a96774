"""Every option of conf/scheduler times every property that a run relies on."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from support.options import option_sections, target_and_parameters, through_a_file

TOTAL_STEPS = 20
BASE_LR = 0.1
# What the program fills in where a file says null or refers to another section.
FILLED = {"total_steps": TOTAL_STEPS, "mode": "min", "max_lr": BASE_LR}

OPTIONS = option_sections("scheduler")
every_option = pytest.mark.parametrize("option", sorted(OPTIONS))


def build(option: str) -> tuple[Optimizer, LRScheduler]:
    """Return the scheduler on an optimizer of two groups, the second with half the learning rate."""
    target, parameters = target_and_parameters(OPTIONS[option])
    groups = [{"params": [nn.Parameter(torch.ones(2))]}, {"params": [nn.Parameter(torch.ones(2))], "lr": BASE_LR / 2}]
    optimizer = SGD(groups, lr=BASE_LR, momentum=0.9)
    filled = {key: FILLED.get(key, value) for key, value in parameters.items()}
    return optimizer, target(optimizer, **copy.deepcopy(filled))


def rates(optimizer: Optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def run(optimizer: Optimizer, scheduler: LRScheduler, num_steps: int) -> list[list[float]]:
    """Step so many times; return the rates that each update had."""
    history = []
    for _ in range(num_steps):
        history.append(rates(optimizer))
        optimizer.step()
        # A metric that never improves, for the one that watches.
        scheduler.step(*([1.0] if isinstance(scheduler, ReduceLROnPlateau) else []))
    return history


def test_the_table_is_not_empty():
    assert {"cosine", "multistep", "onecycle", "plateau", "warmup_cosine"} <= OPTIONS.keys()


@every_option
def test_lists_every_parameter_of_its_class_and_no_other(option):
    target, parameters = target_and_parameters(OPTIONS[option])
    assert set(parameters) == set(inspect.signature(target).parameters) - {"optimizer", "last_epoch"}


@every_option
def test_null_and_references_are_those_that_the_program_fills_in(option):
    _, parameters = target_and_parameters(OPTIONS[option])
    open_values = {key for key, value in parameters.items() if value is None or "${" in str(value)}
    assert open_values == parameters.keys() & FILLED.keys()


@every_option
def test_ours_step_by_step_and_torchs_say_nothing(option):
    target, _ = target_and_parameters(OPTIONS[option])
    ours = target.__module__.startswith("nnrun.")
    assert getattr(target, "interval", None) == ("step" if ours else None)
    assert isinstance(build(option)[1], LRScheduler)


@every_option
@pytest.mark.filterwarnings("error")
def test_changes_every_group_keeps_their_ratio_and_never_stands_at_zero(option):
    """Negative control: without a scheduler all rates of a run are the same."""
    history = run(*build(option), TOTAL_STEPS)
    for group in range(2):
        assert len({row[group] for row in history}) > 1
    assert all(first > 0 and second == pytest.approx(first / 2) for first, second in history)


@every_option
def test_steps_beyond_the_run_do_not_raise(option):
    optimizer, scheduler = build(option)
    run(optimizer, scheduler, 3 * TOTAL_STEPS)
    assert all(0 <= rate <= BASE_LR for rate in rates(optimizer))


@every_option
@pytest.mark.parametrize("optimizer_first", [True, False])
@pytest.mark.parametrize("at_step", [0, 1, 7])
def test_resumed_from_a_file_it_gives_the_same_bits(option, optimizer_first, at_step):
    """Negative control: without the scheduler's state the rates come out differently."""
    optimizer, scheduler = build(option)
    run(optimizer, scheduler, at_step)
    saved = through_a_file({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()})
    expected = run(optimizer, scheduler, 2 * TOTAL_STEPS)
    resumed = build(option)
    names = ("optimizer", "scheduler") if optimizer_first else ("scheduler", "optimizer")
    for name in names:
        resumed[name == "scheduler"].load_state_dict(saved[name])
    assert run(*resumed, 2 * TOTAL_STEPS) == expected
    if at_step == 7:
        forgetful = build(option)
        forgetful[0].load_state_dict(saved["optimizer"])
        # a rate that falls by the same factor each epoch needs no memory but the rate
        assert (run(*forgetful, 2 * TOTAL_STEPS) == expected) == (option == "exponential")


@every_option
def test_state_is_of_plain_values(option):
    optimizer, scheduler = build(option)
    run(optimizer, scheduler, 3)

    def is_plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
        if isinstance(value, list):
            return all(is_plain(item) for item in value)
        return value is None or type(value) in (bool, int, float, str)

    assert is_plain(scheduler.state_dict())
