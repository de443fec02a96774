"""Layers whose activations are not kept for the backward pass, but computed again in it (Chen et al. 2016)."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nnrun.base.errors import ConfigError
from nnrun.base.visible import few
from nnrun.core.device import is_recording

# Modules that only hold others: what is in them is called one by one.
_HOLDERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Recomputing(nn.Module):
    """Call a network; its layers with these names keep nothing for the backward pass but their inputs.

    The network itself stays as it is: only while this is called, calls of these layers are replaced. The second pass of
    a layer has the random draws of the first, begins with the buffers that the first began with, and changes none.
    """

    def __init__(self, network: nn.Module, names: Sequence[str], device: torch.device) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)
        self._device = device
        # Those of the layers that draw random numbers, if that was looked at.
        self.drawing: list[str] = []

    def forward(self, *inputs: Any, **named: Any) -> Any:
        layers = [self.network.get_submodule(name) for name in self.names]
        before = [vars(layer).get("forward") for layer in layers]
        for layer in layers:
            vars(layer)["forward"] = partial(_call, layer, layer.forward, self._device)
        try:
            return self.network(*inputs, **named)
        finally:
            for layer, own in zip(layers, before, strict=True):
                del vars(layer)["forward"]
                if own is not None:
                    vars(layer)["forward"] = own


def _call(layer: nn.Module, forward: Any, device: torch.device, *inputs: Any, **named: Any) -> Any:
    """Call a layer's forward pass, to be repeated in the backward pass."""
    if not torch.is_grad_enabled():
        return forward(*inputs, **named)
    if torch.compiler.is_compiling():
        # Compiled code repeats operations, not calls: it draws once, and changes buffers once.
        return checkpoint(forward, *inputs, use_reentrant=False, **named)
    return checkpoint(
        forward,
        *inputs,
        use_reentrant=False,
        # A recording cannot ask for the generators' states: see `drawing`.
        preserve_rng_state=not is_recording(device),
        context_fn=partial(_contexts, layer),
        **named,
    )


def _contexts(layer: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of a layer's first pass, which begins now, and of its second."""
    places = [(module._buffers, name) for module in layer.modules() for name in module._buffers]
    before = [None if (buffer := buffers[name]) is None else buffer.clone() for buffers, name in places]
    return nullcontext(), _with_buffers(places, before)


@contextmanager
def _with_buffers(
    places: Sequence[tuple[dict[str, Tensor | None], str]], values: Sequence[Tensor | None]
) -> Iterator[None]:
    """Let modules have other buffers in the block, and their own again after it."""
    own = [buffers[name] for buffers, name in places]
    for (buffers, name), value in zip(places, values, strict=True):
        buffers[name] = value
    try:
        yield
    finally:
        for (buffers, name), value in zip(places, own, strict=True):
            buffers[name] = value


def layers_to_recompute(network: nn.Module, wanted: bool | str | Sequence[str]) -> list[str]:
    """Return the names of the layers that `trainer.recompute` means; raise ConfigError if there are none.

    True means each block: a module with layers in it, of a row of such modules, or else a part of the network with
    several layers. Names may be patterns, of whose layers the outermost are taken.
    """
    if isinstance(wanted, bool):
        if names := blocks_of(network):
            return names
        raise ConfigError(
            "trainer.recompute: the network has no blocks, which are modules with layers in them; name its layers: "
            f"trainer.recompute=[{','.join(name for name, _ in network.named_modules() if name)}]"
        )
    names = [name for name, _ in network.named_modules() if name]
    chosen: dict[str, None] = {}
    for pattern in [wanted] if isinstance(wanted, str) else wanted:
        found = fnmatch.filter(names, pattern)
        if not found:
            raise ConfigError(
                f"trainer.recompute: no layer of the network is called {pattern}; {_near(pattern, names)}"
            )
        chosen |= dict.fromkeys(name for name in found if not _is_in(name, found))
    if inner := [name for name in chosen if _is_in(name, chosen)]:
        raise ConfigError(f"trainer.recompute: {few(inner)} is in another of the layers; leave it out")
    if holders := [name for name in chosen if type(network.get_submodule(name)) in _HOLDERS[1:]]:
        raise ConfigError(
            f"trainer.recompute: {few(holders)} only holds layers and is never called; use '{holders[0]}.*'"
        )
    return [name for name in names if name in chosen]


def blocks_of(network: nn.Module) -> list[str]:
    """Return the names of a network's blocks, in order; none is in another."""
    return [name for name, _ in _blocks(network, "")]


def _is_in(name: str, others: Sequence[str] | dict[str, None]) -> bool:
    """Return whether a layer is in another one of these."""
    return any(name.startswith(f"{other}.") for other in others)


def _near(pattern: str, names: Sequence[str]) -> str:
    """Return the layers that may be meant."""
    if near := difflib.get_close_matches(pattern, names, n=2, cutoff=0.7):
        return f"did you mean {' or '.join(map(repr, near))}?"
    top = [name for name in names if "." not in name]
    return f"available: {few(top, 20)}, and the layers in them"


def _blocks(module: nn.Module, prefix: str, *, in_row: bool = False) -> Iterator[tuple[str, nn.Module]]:
    """Yield the blocks in a module, with their names."""
    for name, child in module.named_children():
        full = f"{prefix}{name}"
        if not any(True for _ in child.children()):
            continue
        is_holder = type(child) in _HOLDERS
        inner = any(True for each in child.children() for _ in each.children())
        if is_holder and inner:
            yield from _blocks(child, f"{full}.", in_row=True)
        elif in_row or type(child) is nn.Sequential:
            yield full, child
        elif not is_holder:
            deeper = list(_blocks(child, f"{full}."))
            yield from deeper or [(full, child)]
