"""The layers of a network: which is its head, and how far from it each of the others is."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from nnrun.base.errors import ConfigError, did_you_mean

# Layers that can return scores; a convolution can if its outputs are averaged over all positions.
_SCORING = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_CONTAINERS = (nn.Sequential, nn.ModuleList)
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def find_head(network: nn.Module, num_outputs: int, name: str | None = None) -> str:
    """Return the name of the layer that returns the scores: the one named, or else the last that can.

    The last linear layer or convolution, in the order in which the network's constructor makes them, must have
    `num_outputs` outputs. Raises ConfigError if it does not, or if no module has the name.
    """
    modules = {key: module for key, module in network.named_modules() if key and any(True for _ in module.parameters())}
    if name is not None:
        if name not in modules:
            hint = did_you_mean(name, modules) or f"available: {', '.join(list(modules)[-5:])}"
            raise ConfigError(f"transfer.head={name} is not a layer of the network with parameters; {hint}")
        return name
    scoring = [(key, module) for key, module in modules.items() if isinstance(module, _SCORING)]
    if scoring:
        key, last = scoring[-1]
        given = last.out_features if isinstance(last, nn.Linear) else last.out_channels
        if given == num_outputs:
            return key
        what = f"its last linear layer or convolution, {key}, has {given} outputs, but {num_outputs} are needed"
    else:
        what = "it has no linear layer and no convolution"
    raise ConfigError(f"cannot find the head: {what}; name the layer that returns the scores with transfer.head=NAME")


def parameter_names(network: nn.Module, module: str) -> list[str]:
    """Return the names of the parameters of a module in a network."""
    return [name for name, _ in network.named_parameters() if name.startswith(module + ".")]


def layers(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a network with their names, in the order of its constructor.

    A layer is a child, or an item of a Sequential or ModuleList among the children; if a child holds a list of blocks,
    as a transformer's encoder does, each of its own children is a layer.
    """
    for key, child in network.named_children():
        name = f"{prefix}{key}"
        if isinstance(child, _CONTAINERS):
            yield from _items(child, name)
        elif any(_holds_blocks(part) for part in child.children()):
            yield from layers(child, name + ".")
        else:
            yield name, child


def _items(container: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the items of a container, and of containers in it."""
    for key, item in container.named_children():
        if isinstance(item, _CONTAINERS):
            yield from _items(item, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", item


def _holds_blocks(module: nn.Module) -> bool:
    """Return whether a module is a list of modules that have parts themselves."""
    return isinstance(module, _CONTAINERS) and any(
        next(item.children(), None) is not None for item in module.children()
    )


def distances(network: nn.Module, head: str) -> dict[str, int]:
    """Return how many layers each parameter is away from the scores: 0 for the head's, 1 for the layer before it.

    A normalization belongs to the layer before it; a parameter in no layer, such as a position embedding, to the first.
    """
    ranks: dict[str, int] = {}
    for name, layer in layers(network):
        names = [key for key, _ in layer.named_parameters(prefix=name)]
        is_first, is_norm = not ranks, isinstance(layer, _NORMS)
        rank = 0 if is_first else max(ranks.values()) + (not is_norm)
        ranks |= dict.fromkeys([key for key in names if not key.startswith(head + ".")], rank)
    names = [name for name, _ in network.named_parameters()]
    last = max(ranks.values(), default=0) + 1
    in_head = set(parameter_names(network, head))
    return {name: 0 if name in in_head else last - ranks.get(name, 0) for name in names}
