"""Which of the processes that train together this one is. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rank:
    """One of the processes that train together: its number, how many there are, and both on its machine alone."""

    index: int = 0
    size: int = 1
    local_index: int = 0
    local_size: int = 1
    # Where they meet: a URL that torch.distributed knows.
    url: str = ""
    # The process of ours that started it; None if another program did.
    launcher: int | None = None
    # Whether the program that started it shows it no GPU but its own.
    sees_own_device: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run directory and prints."""
        return self.index == 0

    @property
    def device_index(self) -> int:
        """The number of its GPU, among those that it sees."""
        return 0 if self.sees_own_device else self.local_index


_HERE = [Rank()]


def this_rank() -> Rank:
    """Return which rank this process is; the only one, unless `become_rank` was called."""
    return _HERE[0]


def become_rank(rank: Rank) -> None:
    """Make this process a rank, before its run begins."""
    _HERE[0] = rank
