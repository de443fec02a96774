"""What jobs in processes of their own share: the first that asks makes it, and the others wait for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nnrun.sweeps.shelves import Kept


@dataclass
class Lending:
    """The files that jobs gave, who makes one, and who waits; `answer` takes a job's number and a file or None."""

    answer: Callable[[int, int | None], None]
    _kept: Kept = field(default_factory=Kept)
    # By key: the job that makes it, and those that wait. Of what cannot be shared, only the key is known.
    _makers: dict[str, int] = field(default_factory=dict)
    _waiting: dict[str, list[int]] = field(default_factory=dict)
    _own: set[str] = field(default_factory=set)

    def hear(self, number: int, message: Mapping[str, Any], take_file: Callable[[], int]) -> None:
        """Take what a job says of its shelf, if the message is that; `take_file` returns the file that came with it."""
        if "takes" in message:
            self._take(number, message["takes"])
        if "gives" in message:
            self._give(message["gives"], take_file() if message["has_file"] else None)

    def gone(self, number: int) -> None:
        """Have another job make what one did not that has ended, and wait no more for its answer."""
        for waiting in self._waiting.values():
            waiting[:] = [other for other in waiting if other != number]
        for key in [key for key, maker in self._makers.items() if maker == number]:
            self._release(key)

    def close(self) -> None:
        """Give the memory back."""
        self._kept.close()

    def _take(self, number: int, key: str) -> None:
        """Answer a job with a file, or that it makes it; where another one does, later."""
        kept = self._kept.get(key)
        if kept is None and key in self._makers:
            self._waiting.setdefault(key, []).append(number)
            return
        if kept is None and key not in self._own:
            self._makers[key] = number
        self.answer(number, kept)

    def _give(self, key: str, descriptor: int | None) -> None:
        """Keep a file for all; without one, each job makes it for itself."""
        if descriptor is None:
            self._own.add(key)
        else:
            self._kept.put(key, descriptor)
        self._release(key)

    def _release(self, key: str) -> None:
        """Answer those that wait: nobody makes it any more."""
        self._makers.pop(key, None)
        for number in self._waiting.pop(key, []):
            self._take(number, key)
