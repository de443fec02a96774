"""What `trainer.strategy` means for a training in several processes: whether each of them has all of the network."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nnrun.assembly.job import Job
from nnrun.base.errors import ConfigError
from nnrun.base.foreign_errors import calling
from nnrun.base.shown import counted
from nnrun.base.visible import few
from nnrun.config.auto import AUTO
from nnrun.config.sharding import exclusions
from nnrun.core.device import free_bytes, is_gpu, random_state, set_random_state
from nnrun.core.seams.batch import Batches
from nnrun.core.seams.world import World

# The part of a GPU's free memory that a training's weights, gradients and optimizer state may take under `auto`.
_PART = 0.8
# What an optimizer keeps for each parameter, at most: Adam's two averages.
_NUM_KEPT = 2
# A layer outside of the blocks with this part of all parameters is gathered by itself.
_LARGE = 0.05
_NUM_SAMPLES = 4


class Strategy(NamedTuple):
    """The setting to save, whether each process has but a part of the parameters, and a line about the choice."""

    setting: str
    divides: bool = False
    note: str | None = None


def choose_strategy(job: Job, network: nn.Module, world: World) -> Strategy:
    """Return what `trainer.strategy` means for a network that is on the host still, the same on each rank.

    `auto` is ddp, unless the weights, gradients and optimizer state need more than a GPU's free memory. A resumed run
    keeps what it had. One process leaves the setting as it is.
    """
    wanted = job.settings.trainer.strategy
    if world.size == 1:
        return Strategy(wanted)
    reasons = exclusions(job.composed, job.precision.name)
    if wanted == "fsdp" and reasons:
        raise ConfigError(*reasons)
    if wanted != AUTO:
        return Strategy(wanted, divides=wanted == "fsdp")
    free = free_bytes(job.device) if is_gpu(job.device) else None
    if free is None:
        return Strategy("ddp")
    needed, spare = bytes_of_state(network, has_average=job.settings.trainer.ema_decay is not None), int(_PART * free)
    is_short = world.agree(needed > spare)
    room = f"weights, gradients and optimizer state need up to {_size(needed)}, {_size(spare)} are free"
    if not is_short:
        return Strategy("ddp")
    if reasons:
        note = f"{room}, but {reasons[0]}"
        return Strategy("ddp", note=note)
    return Strategy("fsdp", divides=True, note=f"trainer.strategy=fsdp was chosen: {room}")


def bytes_of_state(network: nn.Module, *, has_average: bool) -> int:
    """Return the bytes of weights, gradients and optimizer state in one process, at most."""
    sizes = [(each.nbytes, each.requires_grad) for each in network.parameters()]
    whole, trained = sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)
    return whole * (1 + has_average) + trained * (1 + _NUM_KEPT)


def layers_to_gather(network: nn.Module, train: Batches) -> list[str]:
    """Return the names of the layers whose parameters are gathered apart from the rest; inner ones come first.

    These are the blocks, as `trainer.recompute=true` means them, and of the layers outside of them those that have many
    of the parameters. A layer counts only if a forward pass of a few samples calls it once, and if no other has one of
    its parameters. Leaves no trace.
    """
    from nnrun.core.recompute import blocks_of  # noqa: PLC0415 - it imports torch's compiler

    most = _LARGE * sum(each.numel() for each in network.parameters())
    names = [name for name in blocks_of(network) if any(True for _ in network.get_submodule(name).parameters())]
    inside = tuple(f"{name}." for name in names)
    for name, layer in network.named_modules():
        size = sum(each.numel() for each in layer.parameters(recurse=False))
        if name and size >= most and name not in names and not name.startswith(inside):
            names.append(name)
    owners = _owners(network)
    alone = [
        name
        for name in names
        if all(
            all(owner == name or owner.startswith(f"{name}.") for owner in owners[id(each)])
            for each in network.get_submodule(name).parameters()
        )
    ]
    called = _num_calls(network, alone, train)
    chosen = [name for name in alone if called[name] == 1]
    return sorted(chosen, key=lambda name: -name.count("."))


def _owners(network: nn.Module) -> dict[int, list[str]]:
    """Return the names of the modules that have each parameter, by its id: several for tied weights."""
    owners: dict[int, list[str]] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        for parameter in module._parameters.values():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append(name)
    return owners


@torch.no_grad()
def _num_calls(network: nn.Module, names: list[str], train: Batches) -> dict[str, int]:
    """Return how often a forward pass calls each of some layers."""
    called = dict.fromkeys(names, 0)
    place = next((each.device for each in network.parameters()), torch.device("cpu"))

    def count(name: str, *_: object) -> None:
        called[name] += 1

    handles = [network.get_submodule(name).register_forward_pre_hook(partial(count, name)) for name in names]
    modes = {module: module.training for module in network.modules()}
    draws = random_state(place)
    try:
        with calling("model"):
            network.eval()
            network(tree_map(partial(on_place, place), train.take(train.order(0)[0][:_NUM_SAMPLES])[0]))
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
        set_random_state(place, draws)
    return called


def on_place(place: torch.device, leaf: Any) -> Any:
    """Return a leaf of a tree on a device."""
    return leaf.to(place) if isinstance(leaf, Tensor) else leaf


def describe_division(network: nn.Module, layers: list[str], size: int) -> str:
    """Return how the parameters of a network are divided, in words."""
    whole = sum(each.nbytes for each in network.parameters())
    parts = f"{counted(len(layers), 'layer')} ({few(layers)}) and the rest" if layers else "all layers at once"
    return (
        f"each process keeps 1/{size} of the parameters ({_size(-(-whole // size))} of {_size(whole)}), of their "
        f"gradients and of the optimizer's state; gathered for a pass through {parts}"
    )


def _size(num_bytes: int) -> str:
    """Return a number of bytes in MB."""
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes < 1e8 else f"{num_bytes / 1e6:,.0f} MB"
