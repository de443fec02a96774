"""Samples that stay in a file, for data that does not fit in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Bytes that are read at a time when a whole file is copied, so that file and copy are not in memory together.
_CHUNK_BYTES = 2**25


class Stored:
    """Stand in for a tensor `(N, ...)` in a file: only the samples that are asked for are read.

    `open_file` maps the file and returns all of its samples; `rows` says which of them these are, in which order. A
    process that is started with one opens the file for itself. `is_mapped` says that opening only maps the file, and
    may be repeated.
    """

    def __init__(self, open_file: Callable[[], Tensor], rows: Tensor | None = None, *, is_mapped: bool = False) -> None:
        self._open_file = open_file
        self._rows = rows
        self._is_mapped = is_mapped
        self._tensor: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of samples, and the shape of one."""
        return (len(self), *self._mapped().shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the samples."""
        return self._mapped().dtype

    @property
    def nbytes(self) -> int:
        """The memory that the samples would take."""
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
        rows = indices if self._rows is None else self._rows[indices]
        subset = Stored(self._open_file, rows, is_mapped=self._is_mapped)
        subset._tensor = self._tensor
        return subset

    def loaded(self) -> Tensor:
        """Return all samples as a tensor in memory."""
        if not self._is_mapped:
            return self[:]
        samples = torch.empty(self.shape, dtype=self.dtype)
        # As many samples as a chunk of the file holds, if they are spread evenly over it.
        num_samples = max(1, _CHUNK_BYTES * len(self) // max(1, self._mapped().nbytes))
        for start in range(0, len(self), num_samples):
            part = samples[start : start + num_samples]
            # Mapped anew each time: the pages that were read are freed with the mapping.
            if self._rows is None:
                part.copy_(self._open_file()[start : start + num_samples])
            else:
                torch.index_select(self._open_file(), 0, self._rows[start : start + num_samples], out=part)
        return samples

    def to(self, device: torch.device) -> Stored | Tensor:
        """Return all samples on a device; on the host they stay in their file."""
        return self if device.type == "cpu" else self.loaded().to(device)

    def _mapped(self) -> Tensor:
        """Return the file as a tensor."""
        if self._tensor is None:
            self._tensor = self._open_file()
        return self._tensor

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tensor": None}
