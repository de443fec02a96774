"""What jobs of a sweep share in files in memory, such as opened data: the newest of it, as far as memory lasts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from nnrun.base.host import fits_in_memory


@dataclass
class Kept:
    """Files by key, the newest last. Of what does not fit into half of the memory, the oldest go; the newest stays."""

    _files: dict[str, int] = field(default_factory=dict)

    def put(self, key: str, descriptor: int) -> None:
        """Keep a file."""
        self._drop(key)
        self._files[key] = descriptor
        while len(self._files) > 1 and not fits_in_memory(sum(map(_num_bytes, self._files.values()))):
            self._drop(next(iter(self._files)))

    def get(self, key: str) -> int | None:
        """Return the file of a key, which stays here; None if there is none."""
        return self._files.get(key)

    def close(self) -> None:
        """Give the memory back, once no job uses it."""
        for key in list(self._files):
            self._drop(key)

    def _drop(self, key: str) -> None:
        if key in self._files:
            os.close(self._files.pop(key))


class OwnShelf:
    """A Shelf for jobs that run one after another in this process."""

    def __init__(self) -> None:
        self._kept = Kept()

    def take(self, key: str) -> int | None:
        """Return what an earlier job gave."""
        kept = self._kept.get(key)
        return None if kept is None else os.dup(kept)

    def give(self, key: str, descriptor: int | None) -> None:
        """Keep a file for the jobs that follow."""
        if descriptor is not None:
            self._kept.put(key, descriptor)

    def close(self) -> None:
        """Give the memory back."""
        self._kept.close()


def _num_bytes(descriptor: int) -> int:
    return os.fstat(descriptor).st_size
