"""How long a training takes, and what of that its steps and its saving take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """The seconds that training took in this process: its steps, its saving, and all of it; and the samples trained on.

    `seconds` are those of the steps alone: saving in the midst of an epoch is left out. `saving_seconds` are those in
    which the training waited for a save, `writing_seconds` those that a thread wrote beside it.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.saving_seconds = 0.0
        self.writing_seconds = 0.0
        self.fit_seconds = 0.0
        self.num_samples = 0
        self._since: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of the block as that of steps."""
        self._since = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - self._since
            self._since = None

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Count the time of the block as that of saving, and not as that of steps."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.saving_seconds += spent
            if self._since is not None:
                self._since += spent

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Count the time of the block, in a thread of its own, as that of writing beside the training."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.writing_seconds += time.perf_counter() - start

    @contextmanager
    def fitting(self) -> Iterator[None]:
        """Count the time of the block as that of the whole training, validation and saving included."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.fit_seconds += time.perf_counter() - start
