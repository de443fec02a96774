"""Fit the head of pretrained weights to the classes of the data, which are matched by name, not by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnrun.base.errors import ConfigError
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.core.transfer.freezing import Freezing
from nnrun.core.transfer.layers import find_head


@dataclass(frozen=True)
class Head:
    """The layer that outputs the scores: its name (None: find it), what is frozen, and the classes of the data."""

    name: str | None
    freezing: Freezing
    targets: Targets

    def fit(self, weights: dict[str, Tensor], network: nn.Module, theirs: Targets | None) -> list[str]:
        """Fit the head in `weights`, in place, to the classes of the data; return notes.

        `theirs` are the classes of the weights, None if unknown. The same classes in another order are reordered; for
        other classes, in number or by name, the head keeps the network's random initialization.
        Raises ConfigError where a new head would stay frozen, or where the classes differ and the head is not found.
        """
        notes = replace_head(weights, network, self.name, self.targets)
        if notes:
            self._check_trains(network)
            return notes
        if theirs is None:
            return [f"the file names no classes: its scores are read as {few(self.targets.names, 3)}, in this order"]
        return [] if theirs == self.targets else self._fit_classes(weights, network, theirs.names)

    def _fit_classes(self, weights: dict[str, Tensor], network: nn.Module, theirs: Sequence[str]) -> list[str]:
        """Reorder the rows of a head of the right size, or replace it by the network's new one."""
        own, ours = network.state_dict(), self.targets.names
        try:
            head = find_head(network, len(ours), self.name)
        except ConfigError as error:
            raise ConfigError(f"the weights are for other classes ({_difference(theirs, ours)}); {error}") from error
        names = [name for name in own if name.startswith(head + ".") and name in weights]
        is_by_class = all(weights[name].shape[:1] == (len(ours),) for name in names)
        if sorted(theirs) == sorted(ours) and len(set(ours)) == len(ours) and is_by_class:
            order = torch.tensor([list(theirs).index(name) for name in ours])
            weights |= {name: weights[name][order] for name in names}
            return [f"the classifier {head} has the same classes in another order: reordered"]
        weights |= {name: own[name] for name in names}
        self._check_trains(network)
        return [f"the classifier {head} is new: other classes here ({_difference(theirs, ours)})"]

    def _check_trains(self, network: nn.Module) -> None:
        """Raise ConfigError where a new, untrained head would stay frozen."""
        head = find_head(network, self.targets.num_outputs, self.name)
        names = [f"{head}.{name}" for name, _ in network.get_submodule(head).named_parameters()]
        if not any(self.freezing.ever_trains(name) for name in names):
            raise ConfigError(
                f"transfer.freeze freezes the classifier {head}, which is new for these classes and would stay "
                "untrained; do not freeze it"
            )


def _difference(theirs: Sequence[str], ours: Sequence[str]) -> str:
    """Return the first classes in which two lists differ, for a message."""
    there = [name for name in theirs if name not in ours] or list(theirs)
    here = [name for name in ours if name not in theirs] or list(ours)
    return f"{few(here, 3)}; there {few(there, 3)}"


def replace_head(weights: dict[str, Tensor], network: nn.Module, head: str | None, targets: Targets) -> list[str]:
    """Put the network's new head into `weights` if theirs is for another number of classes, or missing.

    Returns notes. `head` is its name, or None to find it. If more than the number of classes differs, nothing is done:
    it is another network, and loading reports the mismatch.
    """
    own = network.state_dict()
    if all(name in weights and weights[name].shape == tensor.shape for name, tensor in own.items()):
        return []
    try:
        head = find_head(network, targets.num_outputs, head)
    except ConfigError:
        return []
    names = {name for name in own if name.startswith(head + ".")}
    theirs = {name: weights[name].shape for name in names & weights.keys()}
    is_whole = theirs.keys() == names and _is_for_others(theirs, own, targets.num_outputs)
    if weights.keys().isdisjoint(own.keys() - names) or not (is_whole or not theirs):
        return []
    sizes = [shape[0] for name, shape in theirs.items() if shape != own[name].shape]
    there = f"{sizes[0]:,}" if sizes else "none"
    weights |= {name: own[name] for name in names}
    return [f"the classifier {head} is new: {targets} here, {there} in the file"]


def _is_for_others(theirs: Mapping[str, torch.Size], own: Mapping[str, Tensor], num_outputs: int) -> bool:
    """Return whether the shapes of a whole head differ from the network's only in the number of classes."""
    by_class = {name for name, tensor in own.items() if name in theirs and tensor.shape[:1] == (num_outputs,)}
    changed = {name for name, shape in theirs.items() if shape != own[name].shape}
    is_classes_alone = all(theirs[name][1:] == own[name].shape[1:] for name in changed)
    return changed == by_class and is_classes_alone and len({theirs[name][:1] for name in changed}) == 1
