"""All that a training is made of, and its one form on disk."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from nnrun.core.finite import FiniteWatch
from nnrun.core.freezing import Freezing
from nnrun.core.precision import Precision
from nnrun.core.seams import Callback, Scheduler, Sums


@dataclass(frozen=True)
class Best:
    """The best weights so far: the monitored value, and when they were reached. Epochs count from 1."""

    value: float
    epoch: int
    step: int


@dataclass
class Progress:
    """Where a training stands: `epoch` is the one under way, from 0; `batch` of its batches are done; `step` updates.

    An epoch whose batches are all done is under way until it is validated.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    num_rows: int = 0
    logged_step: int = 0
    best: Best | None = None
    stop_reason: str | None = None


@dataclass
class TrainState:
    """The network, what trains it, and where the training stands.

    `network` is the plain module, so that key names stay clean; compiled or not, it is what a step calls.
    `sums` are the training metric's since the last log.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Scheduler | LRScheduler | None
    scaler: torch.amp.GradScaler | None
    ema: Ema | None
    device: torch.device
    precision: Precision
    seed: int
    sums: Sums
    progress: Progress = field(default_factory=Progress)
    callbacks: Sequence[Callback] = ()
    freezing: Freezing = field(default_factory=Freezing)

    def __post_init__(self) -> None:
        # What a step and an evaluation call: the networks, or what computes the same in a shorter way.
        self.called: nn.Module = self.network
        self.judged: nn.Module = self.evaluated
        # Another one where bad updates are left out.
        self.watch: FiniteWatch = FiniteWatch(self.device)
        self.clock = Clock()

    @property
    def evaluated(self) -> nn.Module:
        """The network whose weights are evaluated and saved as the model: the average where there is one."""
        return self.ema.network if self.ema else self.network

    def set_training(self) -> None:
        """Put the network in training mode, except for what does not train in the epoch under way."""
        self.freezing.apply(self.network, self.progress.epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the future of the training depends on: tensors and plain values."""
        return {
            "progress": asdict(self.progress),
            "network": self.network.state_dict() if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "ema_updates": self.ema.num_updates if self.ema else None,
            "watch": self.watch.state_dict(),
            "sums": self.sums,
            "callbacks": {type(callback).__name__: callback.state_dict() for callback in self.callbacks},
        }

    def load_state_dict(self, model: dict[str, Tensor], training: dict[str, Any]) -> None:
        """Take up what was saved: `model` the evaluated weights, `training` what `state_dict` returned."""
        self.evaluated.load_state_dict(model)
        if self.ema:
            self.network.load_state_dict(training["network"])
            self.ema.num_updates = training["ema_updates"]
        self.optimizer.load_state_dict(training["optimizer"])
        if self.scheduler:
            self.scheduler.load_state_dict(training["scheduler"])
        if self.scaler:
            self.scaler.load_state_dict(training["scaler"])
        self.watch.load_state_dict(training.get("watch", {}))
        for name, total in self.sums.items():
            total.copy_(training["sums"][name])
        best = training["progress"]["best"]
        self.progress = Progress(**training["progress"] | {"best": Best(**best) if best else None})
        for callback in self.callbacks:
            callback.load_state_dict(training["callbacks"][type(callback).__name__])


class Ema:
    """An exponential moving average of the weights (Polyak & Juditsky 1992), as a network of its own.

    The decay rises as (1 + n) / (10 + n) over the first updates n, so that the average forgets the random start.
    Buffers, such as BatchNorm's statistics, are averages already and are copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.num_updates = 0
        self._decay = decay
        self._averages: list[Tensor] = list(self.network.parameters())

    @torch.no_grad()
    def update(self, network: nn.Module, good: Tensor | None = None) -> None:
        """Move the average towards the weights of `network`; not, where `good` is a false bool on the device."""
        self.num_updates += 1
        share = 1 - min(self._decay, (1 + self.num_updates) / (10 + self.num_updates))
        weights: list[Tensor] = list(network.parameters())
        if good is None:
            torch._foreach_lerp_(self._averages, weights, share)
        else:
            torch._foreach_lerp_(self._averages, weights, [share * good] * len(weights))
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)


class Clock:
    """The seconds that training took in this process: its steps, its saving, and all of it; and the samples trained on.

    `seconds` are those of the steps alone: saving in the midst of an epoch is left out.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.saving_seconds = 0.0
        self.fit_seconds = 0.0
        self.num_samples = 0
        self._since: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of the block as that of steps."""
        self._since = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - self._since
            self._since = None

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Count the time of the block as that of saving, and not as that of steps."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.saving_seconds += spent
            if self._since is not None:
                self._since += spent

    @contextmanager
    def fitting(self) -> Iterator[None]:
        """Count the time of the block as that of the whole training, validation and saving included."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.fit_seconds += time.perf_counter() - start
