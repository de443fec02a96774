"""trainer.watch measures the layers in watched steps, and changes nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.support.small_training import CPU, Small, make_network, make_split
from torch import nn

from nnrun.assembly.watching import all_of
from nnrun.components.callbacks.watching import Watching
from nnrun.config.ranges import WATCHED_PARTS
from nnrun.core.laps import PARTS, Laps
from nnrun.core.loop import fit
from nnrun.core.seams.callback import Callback

STEPS = 10


class Gradients(Callback):
    """The gradients and the weights of each update, and the weights after it."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_fit_start(self, state) -> None:
        self.on_step_end(state)

    def on_gradients_ready(self, state) -> None:
        self.gradients.append({name: p.grad.clone() for name, p in state.network.named_parameters()})

    def on_step_end(self, state) -> None:
        self.weights.append({name: p.detach().clone() for name, p in state.network.named_parameters()})


def trained(every: int | None, network: nn.Module, parts: tuple[str, ...] = WATCHED_PARTS, **options: Any):
    """Train on 80 samples in batches of 8; return the training, the rows, the callback and what it should measure."""
    rows: list[dict[str, Any]] = []
    truth = Gradients()
    laps = Laps(CPU) if "time" in parts else None
    watching = Watching(parts, every, laps, {}) if every else None
    small = Small(num_samples=80, network=network, callbacks=[truth, *([watching] if watching else [])], **options)
    if watching:
        small.work.step.mark = all_of([watching.mark, *([laps] if laps else [])])
    small.state.log = lambda split, values: rows.append({"step": small.state.progress.step, **values})
    fit(small.state, small.work, small.plan)
    return small, rows, watching, truth


def networks():
    return {
        "dropout": make_network(nn.Dropout(0.5), nn.ReLU(inplace=True)),
        "batchnorm": make_network(nn.BatchNorm1d(8), nn.Tanh()),
    }


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("options", [{}, {"accumulate": 2, "precision": "bf16"}, {"max_skipped": 3}])
@pytest.mark.parametrize("name", ["dropout", "batchnorm"])
def test_watching_does_not_change_a_bit(name, options, compiled) -> None:
    """Weights, buffers and sums, also of a compiled network, whose graphs have no hooks. Control: rows were written."""
    ends = []
    for every in (None, 2):
        network = networks()[name]
        if compiled:
            network.compile(backend="eager")
        valid = make_split(30, seed=1)
        small, rows, _, _ = trained(every, network, valid=valid, epochs=2, **options)
        ends.append(
            [*small.state.network.state_dict().values(), *small.state.epoch_sums.values(), *small.state.sums.values()]
        )
        assert small.state.train_module is small.state.network
        assert all(not module._forward_hooks for module in small.state.network.modules())
    assert [row["step"] for row in rows][:3] == [1, 2, 4]
    assert f"activations/{0}" in rows[0]
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


def test_the_values_are_those_of_the_step() -> None:
    """Root mean square of the gradients by layer, norms of the weights, and the update beside the weights."""
    _, rows, _, truth = trained(4, make_network(nn.Tanh()))
    assert [row["step"] for row in rows] == [1, 4, 8]
    for row in rows:
        at = row["step"] - 1
        for layer in ("0", "2"):
            names = [f"{layer}.weight", f"{layer}.bias"]
            gradients, before, after = (
                torch.cat([values[name].flatten() for name in names])
                for values in (truth.gradients[at], truth.weights[at], truth.weights[at + 1])
            )
            assert row[f"gradients/{layer}"] == pytest.approx(gradients.square().mean().sqrt().item(), rel=1e-4)
            assert row[f"weights/{layer}"] == pytest.approx(before.norm().item(), rel=1e-4)
            assert row[f"updates/{layer}"] == pytest.approx(((after - before).norm() / before.norm()).item(), rel=1e-3)
        assert {name for name in row if name.startswith("time/")} == {f"time/{part}_ms" for part in PARTS}
        assert row["memory/peak_bytes"] > 2**20
    assert all(math.isfinite(value) for row in rows for value in row.values())
    # Only what is asked for.
    _, few, _, _ = trained(4, make_network(nn.Tanh()), ("updates",))
    assert set(few[0]) == {"step", "updates/0", "updates/2"}


@pytest.mark.parametrize("compiled", [False, True])
def test_dead_units_are_counted_over_the_watched_batches(compiled) -> None:
    """Units that are 0 for every sample; one that is not is none. Resumed, the counts go on."""
    network = make_network(nn.ReLU())
    with torch.no_grad():
        network[0].weight[:3] = 0
        network[0].bias[:3] = -1
    if compiled:
        network.compile(backend="eager")
    small, rows, watching, _ = trained(1, network, ("activations",), lr=0.0)
    assert len(rows) == STEPS
    assert [row["dead/1"] for row in rows[2:]] == [3 / 8] * 8
    counts = watching.state_dict()["dead"]["1"]
    assert (counts[:3].tolist(), watching._units) == ([STEPS] * 3, {"1": 8})
    assert counts[3:].max() < STEPS
    later = Watching(("activations",), 1, None, {})
    later.load_state_dict(watching.state_dict() | {"other": 1})
    small.state.progress.step = STEPS
    later.on_fit_start(small.state)
    assert later.state_dict()["dead"]["1"].tolist() == counts.tolist()
    later.load_state_dict({"dead": {"1": torch.ones(2), 3: counts, "x": "y"}})


def test_saturated_outputs_are_counted() -> None:
    network = make_network(nn.Sigmoid())
    with torch.no_grad():
        network[0].weight.fill_(0)
        network[0].bias[:] = torch.tensor([20.0, -20, 20, -20, 0, 0, 1, -1])
    _, rows, _, _ = trained(3, network, ("activations",), lr=0.0)
    assert [row["saturated/1"] for row in rows] == [0.5] * len(rows)
