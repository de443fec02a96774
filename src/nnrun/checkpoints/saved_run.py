"""The content of a file with weights, read once: weights alone, exported weights with a model card, or a checkpoint.

Tensors are descriptions: `tensors.read_tensors` reads their numbers from the file, which stays open after it was
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
    """Weights in a file: `groups` has its state dicts by the keys that lead there, the usual place first."""

    located: Located
    groups: Mapping[tuple[str, ...], Mapping[str, Any]]

    @property
    def path(self) -> Path:
        """The file's path."""
        return self.located.path

    @property
    def file(self) -> OpenFile:
        """The file, open, as it was verified."""
        return self.located.file

    @property
    def weights(self) -> Mapping[str, StoredTensor]:
        """The descriptions of the weights of the first group, by name."""
        group = next(iter(self.groups.values()))
        return {name: item for name, item in group.items() if isinstance(item, StoredTensor)}

    @property
    def targets(self) -> Targets | None:
        """The targets that the network was trained on; None if unknown."""
        return None


@dataclass(frozen=True)
class SavedNetwork(SavedWeights):
    """Weights that nnrun wrote, with the facts that their user needs, from a checkpoint or a model card."""

    card: Card

    @property
    def config(self) -> Mapping[str, Any]:
        """The config of the run."""
        return self.card.config

    @property
    def targets(self) -> Targets:
        """The targets that the network was trained on."""
        return self.card.targets

    @property
    def preprocessing(self) -> Mapping[str, Any]:
        """The preprocessing of raw samples, as plain values."""
        return self.card.preprocessing

    @property
    def problem(self) -> Mapping[str, Any] | None:
        """The fitted state of the problem, as plain values; None in a file of an earlier version."""
        return self.card.problem


@dataclass(frozen=True)
class SavedRun(SavedNetwork):
    """The content of a checkpoint; `seen` is None in one of an earlier version."""

    training: Mapping[str, Any]
    data_fingerprint: str
    threads: int
    seen: Mapping[str, Any] | None

    @property
    def run(self) -> Path:
        """The run directory that the checkpoint is in; for a file on its own, its folder."""
        return self.located.run or self.path.parent

    @property
    def progress(self) -> Mapping[str, Any]:
        """The progress of the training."""
        return self.training["progress"]  # type: ignore[no-any-return]
