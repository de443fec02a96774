"""Networks whose forward takes several inputs by name: they get the tensors of a sample as these."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

# Tensors of lengths are added to samples; a network that has no use for them need not take them.
LENGTHS = "lengths"


@dataclass(frozen=True)
class Spread:
    """A hook before a network's forward, which gives it the parts of a dict by name, and those of a tuple in order.

    `names` are those that the forward takes, `needed` those without a default; `takes_all` says that it takes any.
    """

    names: tuple[str, ...]
    needed: tuple[str, ...]
    takes_all: bool

    def __call__(
        self, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a call; those of other calls unchanged."""
        if len(given) != 1 or named:
            return given, named
        inputs = given[0]
        if isinstance(inputs, tuple) and len(self.needed) > 1:
            return inputs, {}
        if not isinstance(inputs, Mapping) or (len(self.needed) < 2 and self.names[0] not in inputs):
            return given, named
        missing = [name for name in self.needed if name not in inputs]
        other = [name for name in inputs if name not in self.names and not self.takes_all]
        wrong = [name for name in other if not name.endswith(LENGTHS)]
        if missing or wrong:
            why = f"takes no {', '.join(wrong)}" if wrong else f"also takes {', '.join(missing)}"
            raise TypeError(f"forward {why}; a sample has {', '.join(inputs)}")
        return (), {name: part for name, part in inputs.items() if name not in other}


def taking_names(network: nn.Module) -> nn.Module:
    """Return a network that may be called with a dict or a tuple of tensors, also if its forward takes several inputs.

    `forward(self, tokens, lengths)` gets the tensors of a dict by these names, and those of a tuple in order. A forward
    with one parameter gets the dict or the tuple.
    """
    try:
        parameters = list(inspect.signature(network.forward).parameters.values())
    except (TypeError, ValueError):
        return network
    named = [it for it in parameters if it.kind in (it.POSITIONAL_OR_KEYWORD, it.KEYWORD_ONLY)]
    if len(named) > 1:
        needed = tuple(it.name for it in named if it.default is it.empty)
        takes_all = any(it.kind == it.VAR_KEYWORD for it in parameters)
        hook = Spread(tuple(it.name for it in named), needed, takes_all)
        network.register_forward_pre_hook(hook, with_kwargs=True)
    return network


def without_names(network: nn.Module) -> tuple[nn.Module, Spread | None]:
    """Return a network without the hook, and the hook; the network itself if it has none."""
    hooks = {number: hook for number, hook in network._forward_pre_hooks.items() if isinstance(hook, Spread)}
    if not hooks:
        return network, None
    plain = copy.copy(network)
    plain._forward_pre_hooks = network._forward_pre_hooks.copy()
    for number in hooks:
        del plain._forward_pre_hooks[number]
    return plain, next(iter(hooks.values()))


class TakingNames(nn.Module):
    """A network that cannot have the hook, and is called as it says."""

    def __init__(self, network: nn.Module, spread: Spread) -> None:
        super().__init__()
        self.network, self.spread = network, spread

    def forward(self, inputs: Any) -> Any:
        """Return the network's outputs for a dict or a tuple of tensors."""
        given, named = self.spread(self.network, (inputs,), {})
        return self.network(*given, **named)
