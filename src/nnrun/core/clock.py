"""How long a training takes, and how much of that its steps and its saving take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """The time that training took in this process: its steps, its saving, and in total; and the samples trained on.

    `seconds` is the time of the steps alone, without saves within an epoch. `validation_seconds` is the time of the
    validations. `saving_seconds` is the time for which the
    training waited for saves, `writing_seconds` the time for which a background thread wrote.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.saving_seconds = 0.0
        self.validation_seconds = 0.0
        self.writing_seconds = 0.0
        self.fit_seconds = 0.0
        self.num_samples = 0
        self._since: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of the block as steps."""
        self._since = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - self._since
            self._since = None

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Count the time of the block as saving, and not as steps."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.saving_seconds += spent
            if self._since is not None:
                self._since += spent

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Count the time of the block as validation."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.validation_seconds += time.perf_counter() - start

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Count the time of the block, in a background thread, as writing."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.writing_seconds += time.perf_counter() - start

    @contextmanager
    def fitting(self) -> Iterator[None]:
        """Count the time of the block as the whole training, including validation and saving."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.fit_seconds += time.perf_counter() - start
