"""The average of the weights, which is evaluated in their place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from nnrun.core.multi_tensor import copy_all


class Ema:
    """An exponential moving average of the weights (Polyak & Juditsky 1992), as a separate network.

    The decay rises as (1 + n) / (10 + n) over the first updates n, so that the average forgets the random start.
    Buffers, such as BatchNorm's statistics, are averages already and are copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.num_updates = 0
        self._decay = decay
        self.average(lambda of: dict(of.named_parameters()))
        # If set, the share is read from here, on the device.
        self.share_there: Tensor | None = None

    def average(self, own: Callable[[nn.Module], Mapping[str, Tensor]]) -> None:
        """Average from now on what `own` returns of a network: its parameters, or parts of them."""
        self._own = own
        self._averages: list[Tensor] = list(own(self.network).values())

    @property
    def share(self) -> float:
        """The share of the weights in the average after the next update."""
        number = self.num_updates + 1
        return 1 - min(self._decay, (1 + number) / (10 + number))

    @torch.no_grad()
    def update(self, network: nn.Module, good: Tensor | None = None) -> None:
        """Move the average toward the weights of `network`, unless `good`, a bool on the device, is false."""
        share = self.share if self.share_there is None else self.share_there
        weights: list[Tensor] = list(self._own(network).values())
        if good is None and isinstance(share, float):
            torch._foreach_lerp_(self._averages, weights, share)
        else:
            # A lerp by a tensor takes a launch for each parameter.
            ways = torch._foreach_sub(weights, self._averages)
            torch._foreach_mul_(ways, share if good is None else share * good)  # type: ignore[arg-type]
            torch._foreach_add_(self._averages, ways)
        copy_all(self.network.buffers(), network.buffers())
