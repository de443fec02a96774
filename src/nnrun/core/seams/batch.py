"""The batches of a split, and what changes training batches: augmentations and mixings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from nnrun.core.seams.data import Tree


class Mixed(NamedTuple):
    """How the samples of a batch are mixed: their partners' targets, and the share of each sample's own, `(B,)`."""

    targets: Tensor
    share: Tensor


class Batch(NamedTuple):
    """Samples on the device, this rank's slice of a batch: always the same number, as a short last one is padded.

    `weight` is `(B,)`, 1 for a sample and 0 for padding; `num_samples` is the number of samples, known on the host.
    `targets` are the samples' own, even if they are mixed with others. `is_full` says that the host knows every weight
    to be 1, so that no weighting is needed.
    """

    inputs: Tree
    targets: Tensor
    weight: Tensor
    num_samples: int
    mixed: Mixed | None = None
    is_full: bool = False


class Batches(Protocol):
    """The batches of a split: a pure function of (seed, epoch, index), and of the rank if there are several.

    The three numbers count whole batches, not this rank's slices; a slice has `B` samples.
    """

    num_samples: int
    batch_size: int
    num_batches: int
    # Where the samples of a batch are.
    device: torch.device
    # If so, a sample changes from epoch to epoch.
    is_augmented: bool

    def order(self, epoch: int) -> Tensor:
        """Return the sample indices of each batch of an epoch, `(num_batches, B)`, on the samples' device."""
        ...

    def take(self, indices: Tensor) -> tuple[Tree, Tensor]:
        """Return the network's inputs and the targets of the samples at `indices`, not augmented."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterable[Batch]:
        """Yield the batches of an epoch from batch `start` on."""
        ...


class Augmentation(Protocol):
    """Change the samples of a training batch, each by its own random draw.

    A class may have a `stage`, one of augmenter.py's, which sets its place in the order, and `one_is_white`, if it
    does not accept floats outside 0 to 1.
    """

    def __call__(self, raw: Tree, generator: torch.Generator) -> Tree:
        """Return raw samples, as they are stored, augmented, with the same shapes and types.

        Every draw comes from `generator`, which is on their device.
        """
        ...


class Mixing(Protocol):
    """Mix each sample of a training batch with another one; its target becomes a mixture too."""

    def mix(self, inputs: Tree, others: Tree, generator: torch.Generator) -> tuple[Tree, Tensor]:
        """Return the network's inputs, each mixed with its partner in `others`, and the share of its own, `(N,)`.

        A share is from 1/2 to 1: the target of the larger share stays the sample's own.
        """
        ...
