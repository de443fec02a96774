"""Make the stacked network of several trainings, and try it: it must compute what each network computes alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nnrun.core.randomness import seed_step
from nnrun.core.step import Step
from nnrun.sweeps.stack.member import Member
from nnrun.sweeps.stack.network import CannotStack, StackedNetwork

# How far outputs may be apart, relative to the largest: products in another order round differently.
_TOLERANCE = 1e-4


@torch.no_grad()
def stacked(members: Sequence[Member]) -> StackedNetwork:
    """Return the networks of trainings as one; raise CannotStack where that would compute something else."""
    for member in members:
        _check(member, members[0])
    networks = [member.state.network for member in members]
    inputs = [member.work.train.take(member.work.train.order(0)[0])[0] for member in members]
    if not all(isinstance(each, Tensor) and each.shape == inputs[0].shape for each in inputs):
        raise CannotStack("only inputs that are one tensor, of one shape, are stacked")
    for member in members:
        member.state.set_training()
    try:
        network = StackedNetwork(networks[0], inputs[0])
        parts, draws = [network.part(each) for each in networks], []
        for member, part in zip(members, parts, strict=True):
            _seed(member)
            draws.append(network.draw(part))
        with _keeping_buffers(networks):
            together = list(network(parts, draws, inputs).unbind())
            after = [[buffer.clone() for buffer in each.buffers()] for each in networks]
        for index, member in enumerate(members):
            _seed(member)
            with _keeping_buffers([networks[index]]):
                alone = [networks[index](inputs[index]), *networks[index].buffers()]
                if not all(map(_are_alike, alone, [together[index], *after[index]])):
                    raise CannotStack(
                        "stacked, the network computes something else: its code may draw, or keep a state"
                    )
    except CannotStack:
        raise
    except Exception as error:
        raise CannotStack(f"the network cannot be stacked: {str(error).partition(chr(10))[0]}") from error
    return network


def _check(member: Member, first: Member) -> None:
    """Raise CannotStack if a training does not fit into a stack with the first one."""
    state, objective = member.state, member.work.objective
    if type(member.work.step) is not Step or state.train_module is not state.network:
        raise CannotStack("only the plain training step is stacked")
    if state.precision.name != "fp32":
        raise CannotStack(f"trainer.precision={state.precision.name} is not supported in a stack: use fp32")
    if objective.loss.takes_features:
        raise CannotStack("the loss takes the input of the network's head")
    if state.device != first.state.device or _shapes(state.network) != _shapes(first.state.network):
        raise CannotStack("the networks differ in their shapes")


def _shapes(network: nn.Module) -> list[tuple[str, torch.Size, torch.dtype]]:
    """Return the name, the shape and the type of each parameter and buffer."""
    return [(name, each.shape, each.dtype) for name, each in (*network.named_parameters(), *network.named_buffers())]


def _seed(member: Member) -> None:
    """Seed the draws of a pass, the same each time."""
    seed_step(member.state.device, member.state.seed, 0, 0)


@contextmanager
def _keeping_buffers(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Restore the buffers of networks after the block."""
    kept = [(buffer, buffer.clone()) for network in networks for buffer in network.buffers()]
    try:
        yield
    finally:
        for buffer, before in kept:
            buffer.copy_(before)


def _are_alike(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are equal but for rounding."""
    if one.shape != other.shape or not one.is_floating_point():
        return torch.equal(one, other)
    return bool((one - other).abs().max() <= _TOLERANCE * one.abs().max().clamp(min=1e-6)) if one.numel() else True
