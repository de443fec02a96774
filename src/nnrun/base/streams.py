"""Standard output: accept any character, and keep it free for a single document. Imports little: help needs it."""

from __future__ import annotations

import codecs
import io
import os
import sys
import threading

_STDERR = 2
# Held while standard error is replaced: of two threads, each would keep what the other has put in its place.
_STDERR_REPLACED = threading.Lock()
# Replacements of nnrun's own symbols where they cannot be encoded; other characters are escaped: \u4e2d.
_IN_PLACE = {
    "…": "...",
    "×": "x",
    "±": "+-",
    "─": "-",
    "│": "|",
    "├": "+",
    "└": "+",
    **dict(zip("▁▂▃▄▅▆▇█", "_.,-=+*#", strict=True)),
}
_ERRORS = "nnrun.in_place"


def write_any_character() -> None:
    """Let standard output and error accept any text: characters that they cannot encode are replaced."""
    codecs.register_error(_ERRORS, _in_place)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            try:
                stream.reconfigure(errors=_ERRORS)
            except OSError:  # it took effect, but the stream has become a pipe, which has no position
                continue


def _in_place(error: UnicodeError) -> tuple[str, int]:
    """Return the replacement for characters that an encoding lacks, and where the text continues."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    texts = (_IN_PLACE.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in lacking)
    return "".join(texts), error.end


def say(text: str) -> int:
    """Write a text to standard output; return 0, or 5 if it cannot be written. A closed pipe is not an error."""
    code = 0
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            from nnrun.base.errors import complain  # noqa: PLC0415 - help and version need no more than this module

            complain([f"standard output cannot be written: {error.strerror}"])
            code = 5
    forsake_if_broken()
    return code


def forsake_if_broken() -> None:
    """Discard output that cannot be written, so that Python does not complain when the process ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class OutputToStderr:
    """Send everything that the block prints to standard error, including output of libraries and child processes."""

    def __enter__(self) -> None:
        self._stream, self._kept = sys.stdout, -1
        try:
            self._stream.flush()
            self._number, other = self._stream.fileno(), sys.stderr.fileno()
        except (OSError, ValueError):  # a stream that a program has put in its place may have no descriptor
            pass
        else:
            self._kept = os.dup(self._number)
            os.dup2(other, self._number)
        sys.stdout = sys.stderr

    def __exit__(self, *_: object) -> None:
        sys.stdout = self._stream
        if self._kept >= 0:
            os.dup2(self._kept, self._number)
            os.close(self._kept)


class NativeErrorsDiscarded:
    """Discard what native code writes to standard error in the block: Rust prints its stack before it raises."""

    def __enter__(self) -> None:
        _STDERR_REPLACED.acquire()
        self._kept = -1
        try:
            self._kept = os.dup(_STDERR)
            nowhere = os.open(os.devnull, os.O_WRONLY)
        except OSError:  # it is closed, or there are no more descriptors
            return
        os.dup2(nowhere, _STDERR)
        os.close(nowhere)

    def __exit__(self, *_: object) -> None:
        if self._kept >= 0:
            os.dup2(self._kept, _STDERR)
            os.close(self._kept)
        _STDERR_REPLACED.release()
