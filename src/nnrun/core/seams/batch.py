"""The batches of a split, and what changes those of a training: augmentations and mixings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from nnrun.core.seams.data import Tree


class Mixed(NamedTuple):
    """What the samples of a batch are mixed with: the others' targets, and the share of their own, `(B,)`."""

    targets: Tensor
    share: Tensor


class Batch(NamedTuple):
    """Samples on the device, this rank's slice of a batch: always as many, as a short last one is padded with weight 0.

    `weight` is `(B,)`, 1 for a sample and 0 for padding; `num_samples` counts the samples on the host. `targets` are
    the samples' own, also where they are mixed with others. `is_full` says that every weight is 1, where the host knows
    that: nothing need then be weighed.
    """

    inputs: Tree
    targets: Tensor
    weight: Tensor
    num_samples: int
    mixed: Mixed | None = None
    is_full: bool = False


class Batches(Protocol):
    """The batches of a split: a pure function of (seed, epoch, index), and in a world of several ranks of the rank.

    The three numbers are those of whole batches, whichever slice of each is this rank's; `B` samples are in a slice.
    """

    num_samples: int
    batch_size: int
    num_batches: int
    # Where the samples of a batch are.
    device: torch.device
    # A sample is then another one in each epoch.
    is_augmented: bool

    def order(self, epoch: int) -> Tensor:
        """Return the sample indices of each batch of an epoch, `(num_batches, B)`, where the samples lie."""
        ...

    def take(self, indices: Tensor) -> tuple[Tree, Tensor]:
        """Return the network's inputs and the targets of the samples at `indices`, not augmented."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterable[Batch]:
        """Yield the batches of an epoch from batch `start` on."""
        ...


class Augmentation(Protocol):
    """Change the samples of a training batch, each by a draw of its own.

    A class may have a `stage`, one of augmenter.py's, which says when its turn is, and `one_is_white`, where floats
    beyond 0 to 1 are not for it.
    """

    def __call__(self, raw: Tree, generator: torch.Generator) -> Tree:
        """Return raw samples, as they are stored, changed, of the same shapes and types.

        Every draw comes from `generator`, which is on their device.
        """
        ...


class Mixing(Protocol):
    """Mix each sample of a training batch with another one; its target is then a mixture too."""

    def mix(self, inputs: Tree, others: Tree, generator: torch.Generator) -> tuple[Tree, Tensor]:
        """Return the network's inputs, each mixed with its other one, and the share of its own in it, `(N,)`.

        A share is from 1/2 to 1: what a sample is for the most part stays its target.
        """
        ...
