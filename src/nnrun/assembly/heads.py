"""The head of a network whose weights come from elsewhere: its classes are known by name, not by their number."""

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
    """The layer that gives the scores: its name, or None to find it, what is frozen, and the classes of the data."""

    name: str | None
    freezing: Freezing
    targets: Targets

    def fit(self, weights: dict[str, Tensor], network: nn.Module, theirs: Targets | None) -> list[str]:
        """Fit the head in `weights`, in place, to the classes of the data; return what to say.

        `theirs` are the classes that the weights are for, None where nobody knows. The same classes in another order
        are put in order; where the classes are others, in number or by name, the head stays as the network drew it.
        Raises ConfigError where that one is frozen for good, or where the classes differ and the head is not found.
        """
        notes = replace_head(weights, network, self.name, self.targets)
        if notes:
            self._check_trains(network)
            return notes
        if theirs is None:
            return [f"the file names no classes: its scores are taken for {few(self.targets.names, 3)}, in this order"]
        return [] if theirs == self.targets else self._fit_classes(weights, network, theirs.names)

    def _fit_classes(self, weights: dict[str, Tensor], network: nn.Module, theirs: Sequence[str]) -> list[str]:
        """Put the rows of a head of the right size in order, or the network's own in its place."""
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
            return [f"the head, {head}, is for the same classes in another order, and is put into this one"]
        weights |= {name: own[name] for name in names}
        self._check_trains(network)
        return [f"the classifier {head} is new: other classes here ({_difference(theirs, ours)})"]

    def _check_trains(self, network: nn.Module) -> None:
        """Raise ConfigError where a head that is new, and knows nothing, would stay as it is."""
        head = find_head(network, self.targets.num_outputs, self.name)
        names = [f"{head}.{name}" for name, _ in network.get_submodule(head).named_parameters()]
        if not any(self.freezing.ever_trains(name) for name in names):
            raise ConfigError(
                f"transfer.freeze freezes the head, {head}, which is new for these classes, and would stay as it was "
                "drawn; leave it to train"
            )


def _difference(theirs: Sequence[str], ours: Sequence[str]) -> str:
    """Return the first classes in which two lists differ."""
    there = [name for name in theirs if name not in ours] or list(theirs)
    here = [name for name in ours if name not in theirs] or list(ours)
    return f"{few(here, 3)}; there {few(there, 3)}"


def replace_head(weights: dict[str, Tensor], network: nn.Module, head: str | None, targets: Targets) -> list[str]:
    """Put the network's own head into `weights` where theirs is for another number of classes, or missing.

    Returns what to say. `head` is its name, or None to find it. Where more than the number of classes differs nothing
    is done: that is another network, and loading says so.
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
    """Return whether the shapes of a whole head are those of our own but for one other number of classes."""
    by_class = {name for name, tensor in own.items() if name in theirs and tensor.shape[:1] == (num_outputs,)}
    changed = {name for name, shape in theirs.items() if shape != own[name].shape}
    is_classes_alone = all(theirs[name][1:] == own[name].shape[1:] for name in changed)
    return changed == by_class and is_classes_alone and len({theirs[name][:1] for name in changed}) == 1
