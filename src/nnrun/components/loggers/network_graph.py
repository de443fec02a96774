"""The graph of a network: its operations, by the module that makes them, and what each takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nnrun.core.seams.data import Tree


@dataclass(frozen=True)
class Node:
    """An operation, an input or a weight: its name, `conv1/convolution`, the names of what it takes, and its shape."""

    name: str
    kind: str
    takes: tuple[str, ...]
    shape: tuple[int, ...]


def nodes_of(network: nn.Module, example: Tree) -> list[Node]:
    """Return the nodes of a call of a network, in order; both are on the `meta` device, so that nothing is computed."""
    recorder = _Recorder()
    for number, leaf in enumerate(leaf for leaf in tree_leaves(example) if isinstance(leaf, Tensor)):
        recorder.add(leaf, f"input{number or ''}", "Input", ())
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        recorder.add(tensor, name.replace(".", "/"), "Weight", ())
    with ExitStack() as hooks:
        for name, module in network.named_modules():
            for handle in recorder.follow(module, name.replace(".", "/")):
                hooks.callback(handle.remove)
        with torch.no_grad(), recorder:
            network(example)
    used = {name for node in recorder.nodes for name in node.takes}
    return [node for node in recorder.nodes if node.kind != "Weight" or node.name in used]


class _Recorder(TorchDispatchMode):
    """Keep each operation that torch makes, with the module that is being called."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self._makers: dict[int, str] = {}
        # The tensors themselves too: another one could have the identity of one that is gone.
        self._alive: list[Tensor] = []
        self._modules: list[str] = []
        self._times: Counter[str] = Counter()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False, or torch imports its compiler to leave this class out of it.

        That takes a second, for which the next checkpoint would wait: an optimizer's `state_dict` needs the same lock.
        """
        return False

    def add(self, tensor: Tensor, name: str, kind: str, takes: tuple[str, ...]) -> None:
        """Add a node that makes a tensor."""
        self._times[name] += 1
        name += f"_{self._times[name]}" if self._times[name] > 1 else ""
        self.nodes.append(Node(name, kind, takes, tuple(tensor.shape)))
        self._makers[id(tensor)] = name
        self._alive.append(tensor)

    def follow(self, module: nn.Module, name: str) -> Iterator[Any]:
        """Note while a module is called; yield the handles of its hooks."""
        yield module.register_forward_pre_hook(lambda *_: self._modules.append(name))
        yield module.register_forward_hook(lambda *_: self._modules.pop() and None, always_call=True)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call an operation, and keep it."""
        made = func(*args, **(kwargs or {}))
        kind = str(func.overloadpacket).rpartition(".")[2]
        given = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)]
        takes = tuple(self._makers[id(leaf)] for leaf in given if id(leaf) in self._makers)
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor) and all(leaf is not one for one in given):
                place = self._modules[-1] if self._modules else ""
                self.add(leaf, f"{place}/{kind}" if place else kind, kind, takes)
        return made
