"""Which parameters of a network train, in which epochs."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from nnrun.base.errors import ConfigError
from nnrun.base.visible import few
from nnrun.core.transfer.layers import parameter_names

# The values of transfer.freeze other than names of parameters.
WORDS = ("none", "backbone")


@dataclass(frozen=True)
class Freezing:
    """The names of frozen parameters, and the epoch, from 0, in which they start to train; None means never."""

    names: frozenset[str] = frozenset()
    until_epoch: int | None = None

    def holds(self, epoch: int) -> bool:
        """Return whether something is frozen in an epoch."""
        return bool(self.names) and (self.until_epoch is None or epoch < self.until_epoch)

    def apply(self, network: nn.Module, epoch: int) -> None:
        """Put a network in training mode, except what is frozen in this epoch, which does not change in any way.

        A module whose parameters are all frozen is in eval mode: BatchNorm keeps its statistics, dropout does nothing.
        """
        network.train()
        if not self.names:
            return
        holds = self.holds(epoch)
        for name, parameter in network.named_parameters():
            # Set it on the parameters: on a module, requires_grad is an attribute that nothing reads.
            if name in self.names:
                parameter.requires_grad_(not holds)
        if holds:
            _still(network)

    def ever_trains(self, name: str) -> bool:
        """Return whether a parameter trains in some epoch."""
        return name not in self.names or self.until_epoch is not None


def _still(module: nn.Module) -> None:
    """Put the parts of a module that do not train in eval mode."""
    for child in module.children():
        parameters = list(child.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            child.eval()
        else:
            _still(child)


def frozen_names(network: nn.Module, freeze: str | Sequence[str], head: str | None) -> frozenset[str]:
    """Return the parameters that `transfer.freeze` names: none, all but the head's (`backbone`), or those of patterns.

    Raises ConfigError if a pattern matches no parameter, or if nothing is left to train.
    """
    trainable = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    if freeze == "none":
        return frozenset()
    if freeze == "backbone":
        assert head is not None, "the caller finds the head where it is needed"
        frozen = set(trainable) - set(parameter_names(network, head))
    else:
        frozen = set()
        for pattern in [freeze] if isinstance(freeze, str) else freeze:
            found = fnmatch.filter(trainable, pattern)
            if not found:
                raise ConfigError(f"transfer.freeze: no parameter matches {pattern}; {_near(pattern, network)}")
            frozen |= set(found)
    if frozen == set(trainable):
        raise ConfigError(f"transfer.freeze={freeze} freezes every parameter of the network: nothing would train")
    return frozenset(frozen)


def _near(pattern: str, network: nn.Module) -> str:
    """Return a hint at parameters whose names are similar to a pattern."""
    names = [name for name, _ in network.named_parameters()]
    if any(name.startswith(f"{pattern}.") for name in names):
        return f"did you mean '{pattern}.*'?"
    parts = [f"{name}.*" for name, module in network.named_modules() if name and any(True for _ in module.parameters())]
    near = difflib.get_close_matches(pattern, [*parts, *names, *WORDS], n=2, cutoff=0.7)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"available: {few(names)}"


def describe_training(network: nn.Module) -> str:
    """Describe in words how many parameters of a network are trainable now."""
    training, whole = count_training(network)
    return (
        f"{whole:,} trainable parameters (all)"
        if training == whole
        else f"{training:,} trainable parameters of {whole:,}"
    )


def count_training(network: nn.Module) -> tuple[int, int]:
    """Return how many parameters of a network are trainable now, and how many there are."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)
