"""The samples that a training saw, as digests in its checkpoint: enough to recognize them in other data."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnrun.assembly.data.opened import Opened
from nnrun.base.errors import ArtifactError
from nnrun.checkpoints.saved_run import SavedRun
from nnrun.checkpoints.tensors import read_tensors
from nnrun.core.sample_hashes import among
from nnrun.core.seams.data import Split

# With more samples, those with the smallest digests are kept: effectively a random subset of the data.
MAX_DIGESTS = 4096


@dataclass(frozen=True)
class Seen:
    """The sorted, unique digests of samples that a training saw: all `num_samples`, or the smallest of very many.

    `groups` are the digests of their groups, likewise, if splits were drawn by group.
    """

    digests: Tensor
    num_samples: int
    groups: Tensor | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all samples are listed."""
        return len(self.digests) == self.num_samples

    def among(self, digests: Tensor) -> Tensor:
        """Return which of some samples are known to have been seen, as booleans."""
        return among(digests, self.digests)

    def knows(self, split: Split) -> Tensor:
        """Return which samples of a split are known to have been seen, or are of a group that was."""
        known = self.among(split.identified())
        groups = None if split.keys is None else split.keys.groups
        return known if groups is None or self.groups is None else known | among(groups, self.groups)

    def share_in(self, digests: Tensor) -> float:
        """Return the fraction of the seen samples that are among some samples."""
        return float(among(self.digests, digests).double().mean()) if len(self.digests) else 0.0


def seen_of(data: Opened) -> dict[str, dict[str, Any]]:
    """Return the samples that a training on some data sees, in the form that `seen_by` reads."""
    return {name: _plain(split) for name, split in data.parts.items() if name != "test"}


def _plain(split: Split) -> dict[str, Any]:
    unique = split.identified().unique()
    plain = {"digests": unique[:MAX_DIGESTS].clone(), "num_samples": len(unique)}
    if split.keys is not None and split.keys.groups is not None:
        plain["groups"] = split.keys.groups.unique()[:MAX_DIGESTS].clone()
    return plain


def seen_by(saved: SavedRun) -> dict[str, Seen] | None:
    """Return the samples that a checkpoint's training saw, by split; None for a checkpoint of an earlier version."""
    if saved.seen is None:
        return None
    found = {}
    for part, seen in read_tensors(saved.file, saved.seen).items():
        listed = [seen[key] for key in ("digests", "groups") if key in seen]
        if not all(isinstance(of, Tensor) and of.dtype == torch.int64 and of.dim() == 1 for of in listed):
            raise ArtifactError(f"{saved.path} is not a checkpoint of nnrun: its record of the data is malformed")
        found[part] = Seen(seen["digests"], seen["num_samples"], seen.get("groups"))
    return found


def known_among(split: Split, seen: Sequence[Seen]) -> Tensor:
    """Return which samples of a split are known to have been seen, as booleans."""
    return functools.reduce(torch.logical_or, [part.knows(split) for part in seen])
