"""Messages between the processes of a sweep: lines of JSON on a socket, with descriptors and raw bytes where needed."""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

_MOST_BYTES, _MOST_DESCRIPTORS = 1 << 16, 16


class Channel:
    """One end of a socket. A message is a dict of plain values; `content` are raw bytes that follow it."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._received = bytearray()
        self._descriptors: deque[int] = deque()
        self.is_closed = False

    def fileno(self) -> int:
        """Return the descriptor, for select."""
        return self._end.fileno()

    def send(self, message: dict[str, Any], content: bytes = b"", descriptors: list[int] | None = None) -> bool:
        """Send a message; return whether the other end is still there."""
        line = json.dumps(message | {"num_bytes": len(content)}).encode() + b"\n"
        try:
            if descriptors:
                # The descriptors travel with the first byte.
                sent = socket.send_fds(self._end, [line], descriptors)
                line = line[sent:]
            self._end.sendall(line + content)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def wait(self) -> tuple[dict[str, Any], bytes] | None:
        """Wait for a message and return it with its content; None where the other end is gone."""
        while True:
            if (message := self._taken()) is not None:
                return message
            if self.is_closed:
                return None
            self._read()

    def ready(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Read once, which must not wait, and yield the messages that are complete."""
        self._read()
        while (message := self._taken()) is not None:
            yield message

    def drained(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield all messages that have arrived, without waiting."""
        self._end.setblocking(False)
        with suppress(BlockingIOError):
            while not self.is_closed:
                self._read()
        self._end.setblocking(True)
        while (message := self._taken()) is not None:
            yield message

    def descriptor(self) -> int:
        """Return the next descriptor that came with a message."""
        return self._descriptors.popleft()

    def close(self) -> None:
        """Close this end."""
        self.is_closed = True
        self._end.close()

    def _read(self) -> None:
        try:
            received, descriptors, _, _ = socket.recv_fds(self._end, _MOST_BYTES, _MOST_DESCRIPTORS)
        except ConnectionResetError:
            received, descriptors = b"", []
        self._descriptors.extend(descriptors)
        self._received += received
        self.is_closed = not received

    def _taken(self) -> tuple[dict[str, Any], bytes] | None:
        """Take the first message from what was read; None if it is not complete."""
        line, newline, rest = self._received.partition(b"\n")
        if not newline:
            return None
        message = json.loads(line)
        size = message.pop("num_bytes")
        if len(rest) < size:
            return None
        self._received = rest[size:]
        return message, bytes(rest[:size])
