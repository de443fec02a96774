"""States of a training that cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnrun.doctor.strangers.kind import CONFIG, RESUME, Bench, Hostile, part, without
from nnrun.doctor.strangers.values import bomb


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


STATES = {
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
