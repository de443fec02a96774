"""How much memory the operations of a block need at one time: counted from their results, so the same everywhere."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary


class LiveBytes(TorchDispatchMode):
    """Count the bytes of the tensors that operations in the block make, as long as they live; `peak` is the most."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._known = WeakIdKeyDictionary(ref_type=weakref.ref)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                # It was there before, or is known.
                self._known.setdefault(leaf.untyped_storage(), None)
        results = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(results):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return results

    def _count(self, storage: Any) -> None:
        """Count a storage if it is new, until it is freed."""
        if storage in self._known:
            return
        num_bytes = storage.nbytes()
        self._known[storage] = weakref.finalize(storage, self._freed, num_bytes)
        self._now += num_bytes
        self.peak = max(self.peak, self._now)

    def _freed(self, num_bytes: int) -> None:
        self._now -= num_bytes
