"""What a file says of a network, read once: of weights alone little, of exported ones more, of a checkpoint all.

Tensors are descriptions: `tensors.read_tensors` reads their numbers out of the file, which is open since it was
verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.base.open_file import OpenFile
from nnrun.base.targets import Targets
from nnrun.checkpoints.locate import Located
from nnrun.checkpoints.model_card import Card
from nnrun.checkpoints.stored_tensors import StoredTensor


@dataclass(frozen=True)
class SavedWeights:
    """Weights in a file: `groups` are what stands together, by the keys that lead there, the usual place first."""

    located: Located
    groups: Mapping[tuple[str, ...], Mapping[str, Any]]

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self.located.path

    @property
    def file(self) -> OpenFile:
        """The file, open, as it was verified."""
        return self.located.file

    @property
    def weights(self) -> Mapping[str, StoredTensor]:
        """The weights by name, described: those of the first group."""
        group = next(iter(self.groups.values()))
        return {name: item for name, item in group.items() if isinstance(item, StoredTensor)}

    @property
    def targets(self) -> Targets | None:
        """What the network has learned; None where nobody knows."""
        return None


@dataclass(frozen=True)
class SavedNetwork(SavedWeights):
    """Weights that nnrun wrote, and what a user of them needs to know: that of a checkpoint, or of a model card."""

    card: Card

    @property
    def config(self) -> Mapping[str, Any]:
        """The config of the run."""
        return self.card.config

    @property
    def targets(self) -> Targets:
        """What the network has learned."""
        return self.card.targets

    @property
    def preprocessing(self) -> Mapping[str, Any]:
        """How raw samples become the network's input, as plain values."""
        return self.card.preprocessing

    @property
    def problem(self) -> Mapping[str, Any] | None:
        """What the problem was fitted to, as plain values; None in a file of an earlier version."""
        return self.card.problem


@dataclass(frozen=True)
class SavedRun(SavedNetwork):
    """All that a checkpoint says of its run; `seen` is None in one of an earlier version."""

    training: Mapping[str, Any]
    data_fingerprint: str
    threads: int
    seen: Mapping[str, Any] | None

    @property
    def run(self) -> Path:
        """The run directory that the checkpoint is in; of a file by itself the folder that it lies in."""
        return self.located.run or self.path.parent

    @property
    def progress(self) -> Mapping[str, Any]:
        """Where the training stood."""
        return self.training["progress"]  # type: ignore[no-any-return]
