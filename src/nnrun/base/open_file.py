"""A file that is opened once: what is verified and what is then read are the same bytes, whatever its name becomes."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import weakref
from pathlib import Path

from nnrun.base.files import check_is_file


class OpenFile:
    """A file open to be read, from `stream`; it is closed by `close`, or with the last that holds it.

    Raises OSError where it cannot be opened, or is a pipe or a device.
    """

    def __init__(self, path: Path) -> None:
        check_is_file(path)
        self.path = path
        self.stream = io.BufferedReader(path.open("rb", buffering=0), 2**16)
        self._closing = weakref.finalize(self, self.stream.close)

    def close(self) -> None:
        """Let go of the file: what a run has removed takes room on the disk until then."""
        self._closing()

    @property
    def num_bytes(self) -> int:
        """How long it is."""
        return os.fstat(self.stream.fileno()).st_size

    @functools.cached_property
    def sha256(self) -> str:
        """The sha256 of its bytes, in hexadecimal."""
        self.stream.seek(0)
        return hashlib.file_digest(self.stream, "sha256").hexdigest()
