"""A captured step makes the updates of the step itself: a tape records on a CPU what a CUDA graph does on a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from nnrun.components.augment.mixing import MixUp
from nnrun.core.augmenter import Augmenter
from nnrun.core.captured_step import CapturedStep
from nnrun.core.loop import fit
from nnrun.core.schedule import Schedule
from support.small_training import CPU, Small, make_network
from support.tape import TapeRecorder


class ByStep(torch.optim.lr_scheduler.LambdaLR):
    interval = "step"


def adam(small: Small) -> None:
    small.state.optimizer = torch.optim.Adam(small.state.network.parameters(), lr=0.01, fused=True)


def sgd(small: Small) -> None:
    small.state.optimizer = torch.optim.SGD(
        small.state.network.parameters(), lr=0.1, momentum=0.9, dampening=0.5, nesterov=False, fused=True
    )


def mixed(small: Small) -> None:
    adam(small)
    small.work.train.augmenter = Augmenter({"mixup": MixUp(0.4)}, 0, CPU)


def scheduled(small: Small) -> None:
    adam(small)
    small.state.schedule = Schedule(ByStep(small.state.optimizer, lambda step: 1 / (1 + step)), "valid/loss")


def by_epoch(small: Small) -> None:
    sgd(small)
    small.state.schedule = Schedule(torch.optim.lr_scheduler.StepLR(small.state.optimizer, 1, 0.5), "valid/loss")


CASES = {
    "Adam": (adam, {}),
    "SGD with momentum": (sgd, {}),
    "an average, clipping": (adam, {"ema_decay": 0.9, "grad_clip_norm": 0.1}),
    "accumulate": (adam, {"accumulate": 2}),
    "mixup": (mixed, {}),
    "a schedule by steps": (scheduled, {}),
    "a schedule by epochs": (by_epoch, {}),
    "skip": (adam, {"max_skipped": 3, "ema_decay": 0.9}),
}


def never(work):
    raise RuntimeError("no")


def train(name: str, *, replayed: bool, epochs: int = 4, **more) -> tuple[Small, TapeRecorder, list[str]]:
    prepare, options = CASES[name]
    network = make_network(nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Tanh())
    small = Small(network=network, num_samples=44, epochs=epochs, log_every_steps=3, **(options | more))
    prepare(small)
    recorder, problems = TapeRecorder(), []
    step = CapturedStep(small.work.step, small.work.train, recorder if replayed else never, problems.append)
    small.work = replace(small.work, step=step, train=step.rows)
    fit(small.state, small.work, small.plan)
    return small, recorder, problems


def everything(small: Small) -> dict[str, torch.Tensor]:
    state = small.state
    found = dict(state.network.state_dict())
    for number, values in enumerate(state.optimizer.state.values()):
        found |= {f"{number} {name}": value for name, value in values.items() if value is not None}
    if state.ema:
        found |= {f"average {name}": value for name, value in state.ema.network.state_dict().items()}
    return found | state.sums


@pytest.mark.parametrize("name", CASES)
def test_replayed_updates_have_the_bits_of_updates_made_one_by_one(name):
    ours, recorder, problems = train(name, replayed=True)
    theirs, _, why = train(name, replayed=False)
    assert (problems, why) == ([], ["RuntimeError: no"])
    assert len(recorder.tapes) >= 3  # full batches, with and without a row, and the short last one
    expected = everything(theirs)
    for key, value in everything(ours).items():
        assert torch.equal(value, expected[key]), key
    assert ours.state.progress == theirs.state.progress
    assert float(ours.state.optimizer.param_groups[0]["lr"]) == theirs.state.optimizer.param_groups[0]["lr"]
