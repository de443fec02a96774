"""The complete state of a training, and its one form on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nnrun.core.clock import Clock
from nnrun.core.device import Precision
from nnrun.core.ema import Ema
from nnrun.core.nonfinite import FiniteWatch
from nnrun.core.progress import Progress
from nnrun.core.schedule import Schedule
from nnrun.core.seams.problem import Sums
from nnrun.core.seams.world import World
from nnrun.core.transfer.freezing import Freezing


@dataclass
class TrainState:
    """The network, what trains it, and how far the training has come.

    `network` is the plain module, so that key names stay clean. `train_module` and `eval_module` are what a step and an
    evaluation call: the networks, or a shortcut with the same result. `sums` are the training metric's since the last
    log, `epoch_sums` those of the epoch before that, both over this rank's samples; NaN if they are unknown, after
    resuming within an epoch from a checkpoint of an older version. `best_sums` are those of the best weights'
    validation, if it was in this process. `is_logged` says whether a row of metrics follows the current update;
    `grad_norm` is the norm of its gradients before clipping, None where neither a row nor clipping needs it. A
    callback's `log("weights", {"norm": 1.5})` adds a row to metrics.jsonl, and the loggers get `weights/norm`.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule | None
    scaler: torch.amp.GradScaler | None
    ema: Ema | None
    device: torch.device
    precision: Precision
    seed: int
    sums: Sums
    watch: FiniteWatch = field(default_factory=FiniteWatch)
    freezing: Freezing = field(default_factory=Freezing)
    progress: Progress = field(default_factory=Progress)
    log: Callable[[str, Mapping[str, float]], None] = lambda split, values: None
    world: World = field(default_factory=World)
    grad_norm: Tensor | None = None

    def __post_init__(self) -> None:
        self.train_module: nn.Module = self.network
        self.eval_module: nn.Module = self.evaluated
        self.clock = Clock()
        self.best_sums: Sums | None = None
        self.is_logged = False
        self.epoch_sums: Sums = {name: torch.zeros_like(total) for name, total in self.sums.items()}

    @property
    def evaluated(self) -> nn.Module:
        """The network whose weights are evaluated and saved as the model: the average if there is one."""
        return self.ema.network if self.ema else self.network

    def set_training(self) -> None:
        """Put the network in training mode, except for what is frozen in the current epoch."""
        self.freezing.apply(self.network, self.progress.epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the training depends on, without its callbacks: tensors and plain values."""
        return {
            "progress": asdict(self.progress),
            "network": self.world.whole(self.network) if self.ema else None,
            "optimizer": self.world.whole_optimizer(self.optimizer),
            "scheduler": self.schedule.state_dict() if self.schedule else None,
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "ema_updates": self.ema.num_updates if self.ema else None,
            "watch": self.watch.state_dict(),
            "sums": self.world.total(self.sums),
            "epoch_sums": self.world.total(self.epoch_sums),
            "grad_norm": self.grad_norm,
        }

    def load_state_dict(self, model: dict[str, Tensor], training: dict[str, Any]) -> None:
        """Restore what was saved: `model` is the evaluated weights, `training` what `state_dict` returned."""
        self.evaluated.load_state_dict(model)
        if self.ema:
            self.network.load_state_dict(training["network"])
            self.ema.num_updates = training["ema_updates"]
        self.optimizer.load_state_dict(training["optimizer"])
        if self.schedule:
            self.schedule.load_state_dict(training["scheduler"])
        if self.scaler:
            self.scaler.load_state_dict(training["scaler"])
        self.watch.load_state_dict(training.get("watch", {}))
        for name, total in self.sums.items():
            total.copy_(training["sums"][name] * self.world.is_first)
        self.grad_norm = training.get("grad_norm")
        self.progress = Progress.from_plain(training["progress"])
        for name, total in self.epoch_sums.items():
            if "epoch_sums" in training:
                total.copy_(training["epoch_sums"][name] * self.world.is_first)
            else:
                total.fill_(torch.nan if self.progress.batch and total.is_floating_point() else 0)
