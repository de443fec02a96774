"""A small training, out of the core's own parts, for tests of the core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nnrun.base.targets import Targets
from nnrun.components.losses.cross_entropy import CrossEntropy
from nnrun.components.problems.classification import Classification
from nnrun.core.batches import SplitBatches
from nnrun.core.device import Precision
from nnrun.core.ema import Ema
from nnrun.core.nonfinite import FiniteWatch, SkippingWatch
from nnrun.core.objective import Objective
from nnrun.core.plan import Plan
from nnrun.core.residency import Layout, samples_at
from nnrun.core.seams.callback import Callback
from nnrun.core.seams.data import Split
from nnrun.core.seams.world import World
from nnrun.core.skipping_step import SkippingStep
from nnrun.core.state import TrainState
from nnrun.core.step import Step
from nnrun.core.work import Work, poll_together

NUM_CLASSES = 3
CPU = torch.device("cpu")


class Plain:
    """A preprocessing that only makes floats."""

    def __call__(self, raw: Tensor) -> Tensor:
        return raw.float()

    def to_plain(self) -> dict[str, Any]:
        return {"_target_": "Plain"}


def make_split(num_samples: int, num_features: int = 4, seed: int = 0) -> Split:
    draws = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_samples, num_features, generator=draws)
    return Split(inputs, torch.randint(NUM_CLASSES, (num_samples,), generator=draws))


def make_network(*layers: nn.Module, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), *(layers or (nn.Tanh(),)), nn.Linear(8, NUM_CLASSES))


@dataclass
class Small:
    """A small training, out of the core's own parts."""

    num_samples: int = 20
    batch_size: int = 8
    epochs: int = 1
    max_steps: int | None = None
    accumulate: int = 1
    grad_clip_norm: float | None = None
    ema_decay: float | None = None
    lr: float = 0.1
    seed: int = 0
    log_every_steps: int = 1000
    precision: str = "fp32"
    network: nn.Module = field(default_factory=make_network)
    valid: Split | None = None
    callbacks: Sequence[Callback] = ()
    max_skipped: int | None = None
    validate_every_steps: int | None = None
    world: World = field(default_factory=World)
    poll: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        layout = Layout(CPU, world=self.world)
        self.split = make_split(self.num_samples)
        self.objective = Objective(Classification(Targets.classes("abc")), CrossEntropy())
        train = SplitBatches(samples_at(self.split, layout), Plain(), self.batch_size, self.seed)
        valid = SplitBatches(samples_at(self.valid, layout), Plain(), 7) if self.valid else None
        steps = self.epochs * -(-train.num_batches // self.accumulate)
        total = steps if self.max_steps is None else min(steps, self.max_steps)
        self.plan = Plan(self.epochs, total, self.accumulate, self.log_every_steps, self.validate_every_steps)
        self.state = TrainState(
            network=self.network,
            optimizer=torch.optim.SGD(self.network.parameters(), lr=self.lr),
            schedule=None,
            scaler=None,
            ema=Ema(self.network, self.ema_decay) if self.ema_decay is not None else None,
            device=CPU,
            precision=Precision(self.precision, "as asked"),
            seed=self.seed,
            sums=self.objective.train_metric.init(CPU),
            watch=self._watch(),
            world=self.world,
        )
        kind = Step if self.max_skipped is None else SkippingStep
        step = kind(self.state, self.objective, self.grad_clip_norm, self.callbacks)
        self.work = Work(self.objective, step, train, valid, self.callbacks, poll_together(self.poll, self.world))

    def _watch(self) -> FiniteWatch:
        return FiniteWatch(self.world) if self.max_skipped is None else SkippingWatch(self.max_skipped)
