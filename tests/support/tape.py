"""Record and replay on a CPU what a CUDA graph records on a GPU: operations on the same memory, in the same order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

# They read a value to the host: a graph cannot record them.
_READS = ("aten::_local_scalar_dense", "aten::item", "aten::equal", "aten::nonzero", "aten::is_nonzero")


class ReadByTheHost(RuntimeError):
    """Recorded work read a value."""


class Tape(TorchDispatchMode):
    """Keep each operation with its arguments and results; a replay writes its results to where they were."""

    def __init__(self) -> None:
        super().__init__()
        self.played: list[tuple] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func._schema.name in _READS:
            raise ReadByTheHost(f"{func._schema.name} reads a value")
        result = func(*args, **kwargs)
        self.played.append((func, args, kwargs, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, result in self.played:
            again = func(*args, **kwargs)
            for old, new in zip(tree_flatten(result)[0], tree_flatten(again)[0], strict=True):
                if isinstance(old, Tensor) and old is not new and old.numel() and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class TapeRecorder:
    """Record on a tape; what the work does while it is recorded is undone by whoever recorded it."""

    def __init__(self) -> None:
        self.tapes: list[Tape] = []

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        tape = Tape()
        with tape:
            work()
        self.tapes.append(tape)
        return tape.replay
