"""States of a training that cannot be."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch

from campaigns.strangers.kind import CONFIG, RESUME, Bench, Hostile, part, without
from campaigns.strangers.values import bomb


def training(codes: Sequence[int] = (4,), **changes: Any) -> Hostile:
    """Make a checkpoint with another state of its training; of what is None, nothing."""

    def write(bench: Bench) -> None:
        state = bench.good["training"] | changes
        bench.save(training={key: value for key, value in state.items() if key not in changes or value is not None})

    return Hostile(write, (RESUME,), tuple(codes))


def progress(places: Sequence[str] = CONFIG, **changes: Any) -> Hostile:
    """Make a checkpoint whose training stands at another place."""

    def write(bench: Bench) -> None:
        state = bench.good["training"]
        bench.save(training=state | {"progress": state["progress"] | changes})

    return Hostile(write, places)


def optimizer(change: Callable[[dict[str, Any]], object]) -> Hostile:
    """Make a checkpoint with another state of its optimizer, whose tensors a fused kernel would read to their end."""

    def write(bench: Bench) -> None:
        state = copy.deepcopy(bench.good["training"])
        change(state["optimizer"])
        bench.save(training=state)

    return Hostile(write, (RESUME,))


def moments(make: Callable[[torch.Tensor], Any]) -> Hostile:
    """Make a checkpoint whose optimizer keeps something else in the place of its averages."""

    def change(state: dict[str, Any]) -> None:
        for entry in state["state"].values():
            entry.update({key: make(value) for key, value in entry.items() if key != "step"})

    return optimizer(change)


STATES = {
    "averages of another shape": moments(lambda _: torch.zeros(3)),
    "averages of one number": moments(lambda _: torch.zeros(())),
    "averages of no number": moments(lambda _: torch.zeros(0)),
    "averages of another type": moments(lambda value: value.half()),
    "averages cut short": moments(lambda value: value[:1]),
    "averages that are numbers": moments(lambda _: 0.5),
    "averages that are lists": moments(lambda _: [[]]),
    "steps that are many": optimizer(lambda state: [e.update(step=torch.zeros(9)) for e in state["state"].values()]),
    "parameters of nobody": optimizer(lambda state: state["state"].update({10**6: state["state"][0]})),
    "groups of other parameters": optimizer(lambda state: state["param_groups"][0].update(params=[0] * 4)),
    "a rate that is a list": optimizer(lambda state: state["param_groups"][0].update(lr=[])),
    "a rate that is a tensor": optimizer(lambda state: state["param_groups"][0].update(lr=torch.zeros(2, 2))),
    "a switch that is a text": optimizer(lambda state: state["param_groups"][0].update(maximize="x")),
    "sums of another shape": training(
        sums={"loss": torch.zeros(9), "correct": torch.zeros(9), "weight": torch.zeros(9)}
    ),
    "callbacks that count in texts": training(callbacks={"EarlyStopping": {"reference": "x", "bad_epochs": "x"}}),
    "a part of nobody": training(more=1),
    "step -5": progress(step=-5),
    "epoch -1": progress(epoch=-1),
    "batch -1": progress((RESUME,), batch=-1),
    "-1 rows": progress((RESUME,), num_rows=-1),
    "a step that is a text": progress(step="x"),
    "a step that is NaN": progress(step=float("nan")),
    "a step of 5,000 digits": progress(step=10**5000),
    "a step that is a bomb": progress(step=bomb(4)),
    "an epoch that is a bomb": progress(epoch=bomb(4)),
    "a best that is a text": progress(best="x"),
    "a best without an epoch": progress(best={"value": 1.0}),
    "a best that is a bomb": progress(best={"value": 1.0, "epoch": bomb(4), "step": 6}),
    "a reason to stop that is a bomb": progress((RESUME,), stop_reason=bomb(4)),
    "a progress of more": progress((RESUME,), more=1),
    "no optimizer": training(optimizer=None),
    "an optimizer of nothing": training(optimizer={}),
    "an optimizer that is a text": training(optimizer="x"),
    "an optimizer of other weights": training(optimizer={"state": {}, "param_groups": []}),
    "no sums": training(sums=None),
    "sums that are texts": training(sums={"loss": "x", "correct": "x", "weight": "x"}),
    "no callbacks": training(callbacks=None),
    "a scheduler with another step": training((2, 4), scheduler={"step": 1}),
    "-1 threads": part((RESUME,), threads=lambda _: -1),
    "2^40 threads": part((RESUME,), threads=lambda _: 2**40),
    "threads that are a text": part((RESUME,), threads=lambda _: "x"),
    "no threads": without("threads", (RESUME,)),
    "no fingerprint": without("data_fingerprint", (RESUME,)),
    "another fingerprint": part((RESUME,), (3, 4), data_fingerprint=lambda _: "x"),
}
