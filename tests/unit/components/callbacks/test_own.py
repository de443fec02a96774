"""A callback of the group `callback`: each hook is handed on, and each fault is its own."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nnrun.base.errors import ConfigError, DivergedError, InterruptedRun
from nnrun.components.callbacks.own import OwnCallback
from nnrun.core.progress import Progress
from nnrun.core.seams.callback import Callback


class State:
    """Of a training what a callback's wrapper looks at."""

    def __init__(self) -> None:
        self.progress = Progress()


HOOKS = [name for name, _ in inspect.getmembers(Callback, inspect.isfunction) if name.startswith("on_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_handed_on_and_its_fault_is_named(hook: str) -> None:
    def fails(self: Callback, *given: Any) -> None:
        seen.append(given)
        raise KeyError("no such key")

    seen: list[Any] = []
    own, state = OwnCallback("mine", type("Mine", (Callback,), {hook: fails})()), State()
    given = (state, {"valid/loss": 1.0}) if hook == "on_validation_end" else (state,)
    with pytest.raises(ConfigError, match=r"callback\.mine fails with KeyError: 'no such key' \(.*test_own\.py, line"):
        getattr(own, hook)(*given)
    assert seen == [given]
    getattr(OwnCallback("mine", Callback()), hook)(*given)  # the negative control


@pytest.mark.parametrize("error", [DivergedError("it says so"), InterruptedRun(2)])
def test_what_nnrun_raises_itself_passes(error: BaseException) -> None:
    class Mine(Callback):
        def on_step_end(self, state: Any) -> None:
            raise error

    with pytest.raises(type(error)):
        OwnCallback("mine", Mine()).on_step_end(State())  # type: ignore[arg-type]


# Thirty lists in memory, and 2**30 to whoever goes through them; and one without end.
BOMB: list[Any] = []
for _ in range(30):
    BOMB = [BOMB, BOMB]
CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


class Keeps(Callback):
    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"seen": [1, 2.5, None, True, "a"], "best": {"loss": (1, 2)}},
        {"mean": torch.zeros(2), 3: torch.zeros(1, dtype=torch.bfloat16)},
    ],
)
def test_tensors_and_plain_values_are_saved(state: dict[Any, Any]) -> None:
    assert OwnCallback("mine", Keeps(state)).state_dict() is state


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (None, "its state_dict() is a NoneType, but must be a dict"),
        ([1], "its state_dict() is a list, but must be a dict"),
        ({"best": np.float64(1)}, "its state_dict()['best'] is a numpy.float64"),
        ({"seen": [{1, 2}]}, "its state_dict()['seen'][0] is a set"),
        ({"network": nn.Linear(1, 1)}, "['network'] is a torch.nn.modules.linear.Linear"),
        ({"weight": nn.Parameter(torch.zeros(1))}, "['weight'] is a torch.nn.parameter.Parameter"),
        ({"sparse": torch.zeros(2).to_sparse()}, "['sparse'] is a tensor with the layout torch.sparse_coo"),
        ({"bomb": BOMB}, "its state_dict() is nested too deep or has more than 2,097,152 values"),
        ({"circle": CIRCLE}, "its state_dict() is nested too deep or has more than 2,097,152 values"),
        ({(1, 2): 3}, "has the key (1, 2); allowed in a checkpoint: strings and integers"),
    ],
)
def test_a_state_that_no_checkpoint_holds_is_refused(state: Any, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        OwnCallback("mine", Keeps(state)).state_dict()
    assert "callback.mine: " in str(error.value)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("method", "hint"),
    [
        ("on_steps_end", "did you mean 'on_step_end'?"),
        ("on_batch_end", "on_"),
        ("on_exception", "hooks are on_epoch_end,"),
    ],
)
def test_a_method_that_looks_like_a_hook_and_is_none_is_refused(method: str, hint: str) -> None:
    """Negative control: others may be called anything."""
    with pytest.raises(ConfigError) as error:
        OwnCallback("mine", type("Mine", (Callback,), {method: lambda self: None})())
    assert f"callback.mine: Mine.{method} would never be called; " in str(error.value)
    assert hint in str(error.value)
    OwnCallback("mine", type("Mine", (Callback,), {"turn_on": lambda self: None})())


def test_a_reason_to_stop_is_a_text() -> None:
    class Stops(Callback):
        def __init__(self, reason: Any) -> None:
            self.reason = reason

        def on_epoch_end(self, state: Any) -> None:
            state.progress.stop_reason = self.reason

    OwnCallback("mine", Stops("it is good enough")).on_epoch_end(State())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="stop_reason is True; allowed: a text"):
        OwnCallback("mine", Stops(True)).on_epoch_end(State())  # type: ignore[arg-type]
