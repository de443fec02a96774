"""Several networks of one shape as one: their parameters stacked, their forward passes one pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

# The modules that multiply their input by random factors of its shape, or of its channels'.
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class CannotStack(Exception):
    """Networks cannot be computed together; says why."""


class _Factors(nn.Module):
    """A dropout whose draws are given: multiply by the factors that the dropout of each network drew."""

    factors: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factors", torch.empty(0), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.factors


class _Linear(nn.Module):
    """A linear layer that multiplies from the left: of stacked weights, the gradient then is laid out as they are."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.dim() != len("NC") or self.bias is None:
            return functional.linear(inputs, self.weight, self.bias)
        return torch.addmm(self.bias[:, None], self.weight, inputs.t()).t()


class Part:
    """A network of a stack: its parameters, its buffers and its dropouts, which are looked up once."""

    def __init__(self, network: nn.Module, dropouts: Sequence[str]) -> None:
        self.parameters: dict[str, Tensor] = dict(network.named_parameters())
        self.buffers = dict(network.named_buffers())
        self.dropouts = [network.get_submodule(name) for name in dropouts]
        # Networks with equal rates draw the same from the same seed.
        self.rates = str(self.dropouts)
        # A GPU's rows are copied one by one as they are saved; the host's have to be tensors that numpy knows.
        self.can_be_rows = all(
            each.is_contiguous() and (each.is_cuda or each.dtype == torch.float32) for each in self.parameters.values()
        )


class KeptWeights:
    """The parameters of networks, stacked once: those of each network become rows of them."""

    @torch.no_grad()
    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self.weights = _stacked([part.parameters for part in parts])
        for name, stacked in self.weights.items():
            for part, row in zip(parts, _rows(stacked), strict=True):
                part.parameters[name].data = row
            stacked.requires_grad_(parts[0].parameters[name].requires_grad)

    def hand_out(self) -> None:
        """Give each network its rows of the gradients, and clear them here."""
        for name, stacked in self.weights.items():
            if stacked.grad is not None:
                for part, row in zip(self.parts, stacked.grad.unbind(), strict=True):
                    part.parameters[name].grad = row
                stacked.grad = None


class StackedNetwork:
    """Compute the outputs of several networks of one shape in one pass, each on its own batch, in training mode.

    Their parameters are stacked anew for each pass, and receive their gradients through the stack, unless they are
    kept stacked (`keep`). Each dropout draws as it does when its network is called alone. Buffers, such as BatchNorm's
    statistics, are put back into the networks.
    """

    def __init__(self, network: nn.Module, inputs: Tensor) -> None:
        """Take one of the networks, and a batch of its inputs, by which the shapes of the draws are found."""
        self._ones = _inputs_of_dropouts(network, inputs)
        self._template = copy.deepcopy(network).train()
        self._kept: KeptWeights | None = None
        for name, module in list(self._template.named_modules()):
            if name in self._ones:
                self._replace(name, _Factors())
            elif type(module) is nn.Linear and name:
                self._replace(name, _Linear(module))

    def part(self, network: nn.Module) -> Part:
        """Return what `__call__` needs of a network."""
        return Part(network, list(self._ones))

    def keep(self, parts: Sequence[Part]) -> None:
        """Keep the parameters of these networks stacked from now on, until others are kept; none without parts."""
        if self._kept is None or self._kept.parts != parts:
            self._kept = KeptWeights(parts) if parts and all(part.can_be_rows for part in parts) else None

    def hand_out(self) -> None:
        """Give each network the gradients of its kept parameters; those of others they have already."""
        if self._kept is not None:
            self._kept.hand_out()

    def draw(self, part: Part) -> list[Tensor]:
        """Return the factors that the dropouts of a network draw in a pass, in their order; the caller seeds."""
        return [drop(torch.ones_like(ones)) for drop, ones in zip(part.dropouts, self._ones.values(), strict=True)]

    def __call__(self, parts: Sequence[Part], draws: Sequence[Sequence[Tensor]], inputs: Sequence[Tensor]) -> Any:
        """Return the outputs of networks on their inputs, `(J, N, ...)`; change their buffers as each would."""
        is_kept = self._kept is not None and self._kept.parts == parts
        weights = self._kept.weights if self._kept and is_kept else _stacked([part.parameters for part in parts])
        with torch.no_grad():
            buffers = _stacked([part.buffers for part in parts])
            factors = {f"{name}.factors": torch.stack(of) for name, *of in zip(self._ones, *draws, strict=True)}
        outputs = vmap(self._call)(weights, buffers | factors, torch.stack(list(inputs)))
        with torch.no_grad():
            for name, changed in buffers.items():
                torch._foreach_copy_([part.buffers[name] for part in parts], changed.unbind())
        return outputs

    def _call(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor) -> Any:
        """Return the outputs of one network."""
        return functional_call(self._template, (weights, buffers), (inputs,))

    def _replace(self, name: str, module: nn.Module) -> None:
        """Put another module in place of one of the template's."""
        parent, _, child = name.rpartition(".")
        setattr(self._template.get_submodule(parent), child, module)


def _rows(stacked: Tensor) -> Sequence[Tensor]:
    """Return the rows of a tensor, in its memory; on the host each has its own storage, since that is saved whole."""
    return stacked.unbind() if stacked.is_cuda else [torch.from_numpy(row) for row in stacked.numpy()]


def _stacked(named: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors of each name, stacked."""
    return {name: torch.stack([each[name] for each in named]) for name in named[0]}


@torch.no_grad()
def _inputs_of_dropouts(network: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Return a tensor like the input of each dropout of a network, by name, in the order of the calls."""
    found: dict[str, Tensor] = {}

    def noting(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def note(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            if name in found:
                raise CannotStack(f"the network calls {name} several times in a pass")
            found[name] = given[0]

        return note

    handles = [
        module.register_forward_pre_hook(noting(name))
        for name, module in network.named_modules()
        if type(module) in _DROPOUTS
    ]
    was_training = network.training
    try:
        network.eval()(inputs)
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return found
