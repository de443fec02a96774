"""The processes that train together, and the few operations that they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class World:
    """The ranks of a training, of which this process is one; here the only one. A world of several derives from this.

    Every rank makes the same calls in the same order, and no call is made by one rank alone. A batch is divided: each
    rank takes its slice, in the same order in a world of any size, and losses are divided by the samples of all ranks.
    Each slice has its own random stream: ranks draw differently, and a world of a different size draws different
    numbers. Only the first rank writes: checkpoints, rows of metrics, lines of the console.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank is the one that writes."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Return which samples of a batch are this rank's."""
        return slice(batch_size * self.rank // self.size, batch_size * (self.rank + 1) // self.size)

    def stream(self, index: int) -> int:
        """Return the number of this rank's slice of batch `index` among the slices of all batches: it seeds draws."""
        return index * self.size + self.rank

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, in place."""

    def own(self, network: nn.Module) -> Mapping[str, Tensor]:
        """Return the parameters of a network that this rank updates, by name: all of it, or its part of each."""
        return dict(network.named_parameters())

    def sum_gradients(self, network: nn.Module) -> None:
        """Replace the gradient of each of `own` by its sum over the ranks.

        The ranks must have gradients of the same parameters.
        """
        self.sum(parameter.grad for parameter in network.parameters() if parameter.grad is not None)

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Return the norm of gradients of `own`, on their device: of the whole, the same on each rank."""
        return torch.nn.utils.get_total_norm(gradients)

    def agree(self, flag: bool) -> bool:
        """Return whether the flag is true on any rank; the answer is the same on each."""
        return flag

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Copy the first rank's values into each tensor, in place."""

    def held(self, network: nn.Module) -> dict[str, Tensor]:
        """Return a network's state dict with what this rank has of each tensor."""
        return network.state_dict()

    def whole(self, network: nn.Module) -> dict[str, Tensor]:
        """Return a network's state dict with whole tensors; on the other ranks than the first, they may be parts."""
        return network.state_dict()

    def whole_optimizer(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return an optimizer's state dict with whole tensors; on the other ranks than the first, as above."""
        return optimizer.state_dict()

    def total(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sums over the ranks, without changing this rank's own."""
        totals = {name: tensor.clone() for name, tensor in sums.items()}
        self.sum(totals.values())
        return totals
