"""The graph of a network, as loggers draw it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from nnrun.components.loggers.network_graph import _Recorder, nodes_of


def test_it_names_operations_by_their_module_and_imports_no_compiler() -> None:
    """torch wraps the method of a mode that is not exempt, and imports its compiler when it is first called."""
    with torch.device("meta"):
        network, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.zeros(3, 1, 2, 2)
    nodes = [(node.name, node.takes, node.shape) for node in nodes_of(network, images)]
    assert ("input", (), (3, 1, 2, 2)) in nodes
    assert nodes[-1][0] == "1/addmm" and nodes[-1][2] == (3, 2)
    assert not hasattr(_Recorder.__torch_dispatch__, "__wrapped__")

    class Wrapped(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    assert hasattr(Wrapped.__torch_dispatch__, "__wrapped__"), "the negative control"
