"""The processes that train together, and the few things that they do together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor


class World:
    """The ranks of a training, of which this process is one; here the only one. A world of several derives from this.

    Every rank makes the same calls in the same order, and none is made by one rank alone. A batch is shared out: each
    rank takes its slice of it, in the same order in a world of any size, and losses are divided by the samples of all.
    What is drawn for a slice comes from a stream of its own: ranks draw differently, and a world of another size draws
    other numbers. The first rank alone writes: checkpoints, rows of metrics, lines of the console.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank writes what is written once."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Return which samples of a batch are this rank's."""
        return slice(batch_size * self.rank // self.size, batch_size * (self.rank + 1) // self.size)

    def stream(self, index: int) -> int:
        """Return the number of this rank's slice of batch `index` among the slices of all batches: it seeds draws."""
        return index * self.size + self.rank

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Give each tensor the sum over the ranks, the same on each, in place."""

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Give each gradient the sum over the ranks, in place; a world whose network does that by itself does nothing.

        The ranks must have gradients of the same parameters.
        """
        self.sum(parameter.grad for parameter in parameters if parameter.grad is not None)

    def agree(self, flag: bool) -> bool:
        """Return whether the flag is true on any rank, the same on each."""
        return flag

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give each tensor the first rank's values, in place."""

    def total(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sums over the ranks, and leave this rank's own as they are."""
        totals = {name: tensor.clone() for name, tensor in sums.items()}
        self.sum(totals.values())
        return totals
