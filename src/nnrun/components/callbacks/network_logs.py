"""Pass the network's graph, and the distributions of its weights and gradients, to the loggers that take them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nnrun.components.callbacks.loggers import Loggers
from nnrun.core.histograms import histograms_of, parts_of
from nnrun.core.plan import Plan
from nnrun.core.seams.batch import Batches
from nnrun.core.seams.callback import Callback
from nnrun.core.seams.data import Tree
from nnrun.core.state import TrainState


class NetworkLogs(Callback):
    """At the end of each epoch, pass the histograms of the trainable weights and of the last step's gradients."""

    def __init__(self, loggers: Loggers, train: Batches, plan: Plan) -> None:
        self._loggers, self._train, self._plan = loggers, train, plan
        self._gradients: dict[str, Tensor] = {}

    def on_fit_start(self, state: TrainState) -> None:
        """Pass the network's graph."""
        self._loggers.graph(lambda: outlines_of(state.network, self._train.take(self._train.order(0)[0])[0]))

    def joins_update(self, state: TrainState) -> bool:
        """Join the last update of an epoch."""
        at = state.progress
        is_last = at.batch + self._plan.accumulate >= self._train.num_batches or at.step + 1 >= self._plan.total_steps
        return is_last and self._loggers.take("histograms")

    def on_gradients_ready(self, state: TrainState) -> None:
        """Take the gradients of the last step of an epoch: they are cleared after it."""
        if self.joins_update(state):
            named = ((name, parameter.grad) for name, parameter in state.network.named_parameters())
            self._gradients = {
                f"gradients/{name}": parts_of(g) for name, g in named if g is not None and _has_values(g)
            }

    def on_epoch_end(self, state: TrainState) -> None:
        """Pass the histograms. Waits for the device."""
        if not self._loggers.take("histograms"):
            return
        named = ((name, p) for name, p in state.network.named_parameters() if p.requires_grad and _has_values(p))
        weights = {f"weights/{name}": parts_of(parameter) for name, parameter in named}
        self._loggers.histograms(state.progress.step, histograms_of(weights | self._gradients))
        self._gradients = {}


def _has_values(values: Tensor) -> bool:
    """Return whether a tensor holds real values, one beside the other."""
    return values.numel() > 0 and values.is_floating_point() and values.layout is torch.strided


def outlines_of(network: nn.Module, inputs: Tree) -> tuple[nn.Module, Tree]:
    """Return a copy of a network in eval mode, and one sample for it, on torch's `meta` device.

    They take no memory. The copy has none of the network's hooks: they are the training's.
    """
    memo: dict[int, Any] = {}
    for module in network.modules():
        for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            memo[id(getattr(module, hooks))] = OrderedDict()
    for parameter in network.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    for buffer in network.buffers():
        memo[id(buffer)] = buffer.detach().to("meta")
    return copy.deepcopy(network, memo).eval(), tree_map(lambda leaf: torch.empty_like(leaf[:1], device="meta"), inputs)
