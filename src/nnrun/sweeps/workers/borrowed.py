"""What a job shares with the others, as seen from its process: it asks the sweep, which keeps the files of all."""

from __future__ import annotations

import contextlib
import os
import queue

from nnrun.base.signals import in_force
from nnrun.sweeps.workers.messages import Channel

# How often a job that waits looks whether it was told to stop.
_LOOK_SECONDS = 0.2


class Borrowed:
    """A Shelf behind the job's socket; another thread reads that, and calls `hear`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._answers: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def hear(self, has_file: bool) -> None:
        """Take an answer; its file, if it has one, is the next that came with a message."""
        self._answers.put(self._channel.descriptor() if has_file else None)

    def take(self, key: str) -> int | None:
        """Ask for a file, and wait until the job that makes it has given it or ended; a signal does not wait for it."""
        self._channel.send({"takes": key})
        while in_force().heard is None:
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=_LOOK_SECONDS)
        return None

    def give(self, key: str, descriptor: int | None) -> None:
        """Hand over a file."""
        files = None if descriptor is None else [descriptor]
        self._channel.send({"gives": key, "has_file": descriptor is not None}, descriptors=files)
        if descriptor is not None:
            os.close(descriptor)
