"""A file that is opened once: the bytes verified are the bytes read, whatever happens to its name meanwhile."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import weakref
from pathlib import Path

from nnrun.base.files import check_is_file


class OpenFile:
    """A file open for reading from `stream`; `close` closes it, as does the removal of the last reference.

    Raises OSError if it cannot be opened, or is a pipe or a device.
    """

    def __init__(self, path: Path) -> None:
        check_is_file(path)
        self.path = path
        self.stream = io.BufferedReader(path.open("rb", buffering=0), 2**16)
        self._closing = weakref.finalize(self, self.stream.close)

    def close(self) -> None:
        """Close the file: one that a run has removed takes up disk space until then."""
        self._closing()

    @property
    def num_bytes(self) -> int:
        """The size in bytes."""
        return os.fstat(self.stream.fileno()).st_size

    @functools.cached_property
    def sha256(self) -> str:
        """The sha256 of its bytes, in hexadecimal."""
        self.stream.seek(0)
        return hashlib.file_digest(self.stream, "sha256").hexdigest()
