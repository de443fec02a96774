"""Samples that lie in a file, for data that does not fit in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Stored:
    """Stand for a tensor `(N, ...)` that a file holds: what is asked for is read, and nothing else.

    `open_file` maps the file and returns all of its samples; `rows` says which of them these are, in which order. A
    process that is started with one opens the file for itself.
    """

    def __init__(self, open_file: Callable[[], Tensor], rows: Tensor | None = None) -> None:
        self._open_file = open_file
        self._rows = rows
        self._tensor: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of samples, and the shape of one."""
        return (len(self), *self._mapped().shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """The type of a value."""
        return self._mapped().dtype

    @property
    def nbytes(self) -> int:
        """How much memory the samples would take."""
        return self._mapped()[:1].nbytes * len(self)

    def __len__(self) -> int:
        return len(self._mapped()) if self._rows is None else len(self._rows)

    def __getitem__(self, index: int | slice | Tensor) -> Tensor:
        """Return the samples at an index as a tensor in memory."""
        found = self._mapped()[index if self._rows is None else self._rows[index]]
        return (
            found.clone()
            if found.untyped_storage().data_ptr() == self._mapped().untyped_storage().data_ptr()
            else found
        )

    def index_select(self, dim: int, indices: Tensor) -> Tensor:
        """Return the samples at `indices` as a tensor in memory."""
        assert dim == 0, "the first dimension is the sample"
        return self._mapped().index_select(0, indices if self._rows is None else self._rows[indices])

    def subset(self, indices: Tensor) -> Stored:
        """Return the samples at `indices`, still unread."""
        subset = Stored(self._open_file, indices if self._rows is None else self._rows[indices])
        subset._tensor = self._tensor
        return subset

    def loaded(self) -> Tensor:
        """Return all samples as a tensor in memory."""
        return self[:]

    def to(self, device: torch.device) -> Stored | Tensor:
        """Return all samples on a device; on the host they stay in their file."""
        return self if device.type == "cpu" else self.loaded().to(device)

    def _mapped(self) -> Tensor:
        """Return the file as a tensor."""
        if self._tensor is None:
            self._tensor = self._open_file()
        return self._tensor

    def __getstate__(self) -> dict[str, Any]:
        return {"_open_file": self._open_file, "_rows": self._rows, "_tensor": None}
