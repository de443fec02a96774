"""A saved state is taken up only where it is one that this training could have.

Negative control: what a training saved is taken up as it is, of every optimizer that ships.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nnrun.assembly.state_check import (
    Unlike,
    _check_scheduler,
    _fitted_callbacks,
    _fitted_optimizer,
    check_like,
    check_tensors,
)
from nnrun.base.open_file import OpenFile
from nnrun.checkpoints.read import read_pickle
from nnrun.checkpoints.tensors import read_tensors
from nnrun.components.callbacks.early_stopping import EarlyStopping
from nnrun.components.callbacks.own import OwnCallback
from nnrun.components.optimizers.muon import MuonWithAdamW
from nnrun.core.seams.callback import Callback, states_of

OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, fused=True),
    "adam, amsgrad": lambda p: torch.optim.Adam(p, amsgrad=True),
    "adam, foreach": lambda p: torch.optim.Adam(p, foreach=True),
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "sgd, momentum": lambda p: torch.optim.SGD(p, momentum=0.9, nesterov=True),
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "adamax": torch.optim.Adamax,
    "asgd": torch.optim.ASGD,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": lambda p: torch.optim.RMSprop(p, momentum=0.9, centered=True),
    "rprop": torch.optim.Rprop,
    "adafactor": torch.optim.Adafactor,
    "muon": MuonWithAdamW,
}


def network() -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    return made.to(memory_format=torch.channels_last)


def trained(name: str, steps: int = 2):
    net = network()
    optimizer = OPTIMIZERS[name](net.parameters())
    for _ in range(steps):
        net(torch.ones(2, 3, 4, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return net, optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("steps", [0, 2])
def test_what_an_optimizer_saved_is_taken_up_to_the_bit_and_the_step_that_asks_for_it_leaves_no_trace(
    tmp_path, name, steps
):
    net, optimizer = trained(name, steps)
    torch.save(optimizer.state_dict(), tmp_path / "x")
    again, fresh = trained(name, 0)
    before = [parameter.clone() for parameter in again.parameters()]
    file = OpenFile(tmp_path / "x")
    state = _fitted_optimizer(read_tensors(file, read_pickle(file)), fresh)
    for parameter, value in zip(again.parameters(), before, strict=True):
        assert torch.equal(parameter, value)
        assert parameter.grad is None
    fresh.load_state_dict(state)
    again.load_state_dict(net.state_dict())
    for model, trainer in ((net, optimizer), (again, fresh)):
        model(torch.ones(2, 3, 4, 4)).sum().backward()
        trainer.step()
    for ours, theirs in zip(again.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    saved, taken = optimizer.state_dict()["state"], fresh.state_dict()["state"]
    for number, entry in saved.items():
        for key, value in entry.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, taken[number][key])
                assert value.stride() == taken[number][key].stride()


CHANGES = {
    "another shape": lambda s: s["state"][0].update(exp_avg=torch.zeros(3)),
    "another number of dimensions": lambda s: s["state"][2].update(exp_avg=torch.zeros(48)),
    "a scalar for a tensor": lambda s: s["state"][0].update(exp_avg=torch.zeros(())),
    "a tensor for a scalar": lambda s: s["state"][0].update(step=torch.zeros(3)),
    "another type": lambda s: s["state"][0].update(exp_avg=s["state"][0]["exp_avg"].double()),
    "half a type": lambda s: s["state"][0].update(exp_avg=s["state"][0]["exp_avg"].half()),
    "a number for a tensor": lambda s: s["state"][0].update(exp_avg=0.5),
    "a name too few": lambda s: s["state"][0].pop("exp_avg_sq"),
    "a name too many": lambda s: s["state"][0].update(more=torch.zeros(1)),
    "a state of nobody": lambda s: s["state"].update({99: s["state"][0]}),
    "a state by a text": lambda s: s["state"].update({"0": s["state"][0]}),
    "a state that is a list": lambda s: s.update(state=[]),
    "an entry that is a list": lambda s: s["state"].update({0: []}),
    "no groups": lambda s: s.update(param_groups=[]),
    "two groups": lambda s: s.update(param_groups=s["param_groups"] * 2),
    "a group that is a text": lambda s: s.update(param_groups=["x"]),
    "other parameters": lambda s: s["param_groups"][0].update(params=[3, 2, 1, 0]),
    "a parameter twice": lambda s: s["param_groups"][0].update(params=[0, 0, 0, 0]),
    "a rate that is a text": lambda s: s["param_groups"][0].update(lr="x"),
    "a rate that is a tensor of many": lambda s: s["param_groups"][0].update(lr=torch.zeros(3)),
    "a rate of 5,000 digits": lambda s: s["param_groups"][0].update(lr=10**600),
    "betas that are three": lambda s: s["param_groups"][0].update(betas=(0.9, 0.9, 0.9)),
    "a switch that is turned": lambda s: s["param_groups"][0].update(amsgrad=True),
    "a setting that is a tensor": lambda s: s["param_groups"][0].update(more=torch.zeros(3)),
    "another part": lambda s: s.update(more=1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_state_that_the_optimizer_could_not_have_is_refused(name):
    """The first ended the process: a fused kernel reads as many numbers as the parameter has."""
    _, optimizer = trained("adam")
    saved = copy.deepcopy(optimizer.state_dict())
    CHANGES[name](saved)
    with pytest.raises(Unlike, match="optimizer"):
        _fitted_optimizer(saved, trained("adam", 0)[1])


def test_the_kernel_is_the_machines_choice_and_views_get_memory_of_their_own():
    _, optimizer = trained("adam")
    saved = copy.deepcopy(optimizer.state_dict())
    saved["param_groups"][0].update(fused=None, foreach=True)
    del saved["param_groups"][0]["decoupled_weight_decay"]
    large = torch.ones(200)
    shape = saved["state"][0]["exp_avg"].shape
    saved["state"][0]["exp_avg"] = large.as_strided(shape, (0, 0, 0, 0), 7)
    saved["state"][1]["exp_avg_sq"] = saved["state"][1]["exp_avg"]
    _, fresh = trained("adam", 0)
    fitted = _fitted_optimizer(saved, fresh)
    assert fitted["param_groups"][0]["fused"] is True
    assert fitted["param_groups"][0]["decoupled_weight_decay"] is False
    view = fitted["state"][0]["exp_avg"]
    assert view.untyped_storage().nbytes() == view.nbytes
    assert view.stride() == next(network().parameters()).stride(), "laid out as the parameter"
    assert view.eq(1).all()
    assert fitted["state"][1]["exp_avg"].data_ptr() != fitted["state"][1]["exp_avg_sq"].data_ptr()


class Counting(torch.optim.SGD):
    """An optimizer of somebody's own: after the first step it comes to keep more, and it wants more than gradients."""

    def step(self, closure=None):
        raise RuntimeError("tell me the loss")


def test_what_an_optimizer_of_ones_own_keeps_is_its_own_affair():
    net = network()
    optimizer = Counting(net.parameters(), lr=0.1)
    state = {"state": {0: {"slow": torch.zeros(7), "count": 3}}, "param_groups": optimizer.state_dict()["param_groups"]}
    fitted = _fitted_optimizer(state, optimizer)
    assert fitted["state"][0]["count"] == 3
    assert fitted["state"][0]["slow"].tolist() == [0.0] * 7


@pytest.mark.parametrize(
    "make",
    [
        lambda o: torch.optim.lr_scheduler.StepLR(o, 2),
        torch.optim.lr_scheduler.ReduceLROnPlateau,
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=9),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 9),
        lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
    ],
    ids=["step", "plateau", "onecycle", "cosine", "exponential"],
)
def test_what_a_schedule_saved_is_taken_up_and_what_would_stand_in_for_its_methods_is_not(make):
    _, optimizer = trained("adam")
    scheduler = make(optimizer)
    fresh = copy.deepcopy(scheduler.state_dict())
    scheduler.step(*([0.5] if "Plateau" in type(scheduler).__name__ else []))
    saved = scheduler.state_dict()
    _check_scheduler(saved, scheduler, fresh)
    _check_scheduler({**saved, "new_in_torch": [1, 2]}, scheduler, fresh)
    for key, value in (
        ("step", 1), ("optimizer", 1), ("state_dict", None), ("last_epoch", "x"), ("_last_lr", 3), ("_last_lr", []),
        ("more", torch.zeros(2)), ("last_epoch", 2**70), (3, 1),
    ):  # fmt: skip
        with pytest.raises(Unlike, match=r"scheduler"):
            _check_scheduler({**saved, key: value}, scheduler, fresh)
    with pytest.raises(Unlike, match="scheduler"):
        _check_scheduler([], scheduler, fresh)


@pytest.mark.parametrize("value", ["x", True, [1], None, torch.zeros(1), 2**64])
def test_a_count_is_a_number(value):
    check_like({"reference": None, "bad_epochs": 7}, {"reference": None, "bad_epochs": 0}, "callbacks")
    check_like({"reference": 0.5, "bad_epochs": 7}, {"reference": None, "bad_epochs": 0}, "callbacks")
    with pytest.raises(Unlike, match=r"callbacks.bad_epochs"):
        check_like({"reference": None, "bad_epochs": value}, {"reference": None, "bad_epochs": 0}, "callbacks")


@pytest.mark.parametrize(
    "value", [torch.zeros(2), torch.zeros(1), torch.zeros((), dtype=torch.int64), 0.5, "x", None, []], ids=str
)
def test_sums_are_of_the_metrics_own_shape_and_type(value):
    check_tensors({"loss": torch.tensor(2.0)}, {"loss": torch.tensor(0.0)}, "sums")
    with pytest.raises(Unlike, match=r"sums.loss"):
        check_tensors({"loss": value}, {"loss": torch.tensor(0.0)}, "sums")


class Mine(Callback):
    """One of the user's own: what it keeps grows."""

    def state_dict(self):
        return {"seen": []}


def test_states_of_callbacks_are_known_by_their_names_and_by_those_of_earlier_versions():
    ours = EarlyStopping("valid/loss", "min", 3, 0.0)
    callbacks = {"early_stopping": ours, "mine": OwnCallback("mine", Mine())}
    fresh = states_of(callbacks)
    kept = {"reference": 0.5, "bad_epochs": 2}
    for name in ("early_stopping", "EarlyStopping"):
        saved = {name: kept, "mine": {"seen": [1, torch.zeros(3)]}, "gone": {"x": 1}, "MetricRows": {}}
        taken = _fitted_callbacks(saved, fresh, callbacks)
        assert taken == {"early_stopping": kept, "mine": saved["mine"]}
    # One that joins has saved nothing; ours have always been there.
    assert _fitted_callbacks({"early_stopping": kept}, fresh, callbacks) == {"early_stopping": kept}
    for saved in (
        *({}, None, {"Early": kept}, {"early_stopping": {"bad_epochs": 2}}, {"early_stopping": None}),
        {"early_stopping": kept, "mine": {"seen": [{1, 2}]}},
        {"early_stopping": kept, "mine": [1]},
        {"early_stopping": {"reference": 0.5, "bad_epochs": "2"}},
    ):
        with pytest.raises(Unlike):
            _fitted_callbacks(saved, fresh, callbacks)
