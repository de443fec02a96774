"""What computing activations again saves and costs: measured on a few samples, for a batch of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from nnrun.base.foreign_errors import calling
from nnrun.core.device import Precision, random_state, set_random_state
from nnrun.core.live_bytes import LiveBytes
from nnrun.core.randomness import seed_step

# Numbers of samples that are looked at: the need grows with their number, and BatchNorm takes no single one.
_FEW, _MORE = 4, 8
# What an optimizer keeps for each parameter, at most: Adam's two averages.
_NUM_KEPT = 2


class Need(NamedTuple):
    """What the two passes of a batch need: bytes at one time beside the weights, all gradients included, and FLOPs."""

    num_bytes: int
    flops: int


class Calls(NamedTuple):
    """Of some layers, those that are never called, and those that draw random numbers."""

    never: list[str]
    drawing: list[str]


@dataclass(frozen=True)
class Passes:
    """The two passes of a network for batches of `batch_size`; `take` returns the inputs of a number of samples."""

    network: nn.Module
    take: Callable[[int], Any]
    batch_size: int
    device: torch.device
    precision: Precision
    seed: int

    def need(self, module: nn.Module) -> Need:
        """Return what the passes need if they call `module`, the network or a stand-in. Leaves no trace."""
        few, more = (min(number, self.batch_size) for number in (_FEW, _MORE))
        # Not both at once: the counter keeps tensors.
        with FlopCounterMode(display=False) as counter:
            self._run(module, few)
        flops = counter.get_total_flops() * self.batch_size // few
        large = self._peak(module, more)
        grows = max(0.0, (large - self._peak(module, few)) / (more - few)) if few < more else 0.0
        return Need(large + round(grows * (self.batch_size - more)) + trained_bytes(self.network), flops)

    def _peak(self, module: nn.Module, number: int) -> int:
        """Return the bytes that the passes of some samples need at one time; gradients are dropped at once.

        Of few samples they would be the most, and hide what grows with the samples.
        """

        def drop(parameter: Tensor) -> None:
            parameter.grad = None

        trained = [each for each in self.network.parameters() if each.requires_grad]
        handles = [each.register_post_accumulate_grad_hook(drop) for each in trained]
        try:
            with LiveBytes() as live:
                self._run(module, number)
        finally:
            for handle in handles:
                handle.remove()
        return live.peak

    def calls(self, names: list[str]) -> Calls:
        """Return what these layers do in the passes. Leaves no trace."""
        never, drawing, before = dict.fromkeys(names), dict[str, None](), dict[str, Tensor]()

        def begin(name: str, *_: object) -> None:
            never.pop(name, None)
            before[name] = random_state(self.device)

        def end(name: str, *_: object) -> None:
            if not torch.equal(before[name], random_state(self.device)):
                drawing[name] = None

        layers = [(name, self.network.get_submodule(name)) for name in names]
        handles = [layer.register_forward_pre_hook(partial(begin, name)) for name, layer in layers]
        handles += [layer.register_forward_hook(partial(end, name)) for name, layer in layers]
        try:
            self._run(self.network, min(_FEW, self.batch_size))
        finally:
            for handle in handles:
                handle.remove()
        return Calls(list(never), list(drawing))

    def _run(self, module: nn.Module, number: int) -> None:
        """Run the passes of some samples, and put everything back."""
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        draws, inputs = random_state(self.device), self.take(number)
        seed_step(self.device, self.seed, 0, 0)
        with calling("model"):
            with self.precision.autocast(self.device):
                outputs = module(inputs)
            leaves = [leaf.float().sum() for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
            del outputs
            torch.stack(leaves).sum().backward()  # type: ignore[no-untyped-call]
        self.network.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, before in zip(self.network.buffers(), buffers, strict=True):
                buffer.copy_(before)
        set_random_state(self.device, draws)


def bytes_of_step(need: Need, network: nn.Module) -> int:
    """Return the bytes of a step beside the weights: what its passes need, and what an optimizer keeps at most."""
    return need.num_bytes + _NUM_KEPT * trained_bytes(network)


def trained_bytes(network: nn.Module) -> int:
    """Return the bytes of the parameters of a network that are trained."""
    return sum(each.numel() * each.element_size() for each in network.parameters() if each.requires_grad)


def is_short(num_bytes: int, free: int) -> bool:
    """Return whether a step that needs so many bytes has too little room for `auto` to keep all activations."""
    return num_bytes > free
