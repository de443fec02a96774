"""Standard output: written for whoever reads it, and kept clean for one document. Imports little: help needs it."""

from __future__ import annotations

import codecs
import io
import os
import sys

# What signs of nnrun's own are written as where they cannot be; other characters are written as \u4e2d.
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
    """Let standard output and error take every text: what they cannot encode is written in other characters."""
    codecs.register_error(_ERRORS, _in_place)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            try:
                stream.reconfigure(errors=_ERRORS)
            except OSError:  # done, but the stream, a file once, is another's pipe by now, which has no position
                continue


def _in_place(error: UnicodeError) -> tuple[str, int]:
    """Return what is written in the place of characters that an encoding lacks, and where the text goes on."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    texts = (_IN_PLACE.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in lacking)
    return "".join(texts), error.end


def say(text: str) -> int:
    """Write a text to standard output; return 0, or 5 where it cannot be written. A reader who has left is no error."""
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
    """Let what cannot be written go nowhere, so that nothing is said of it when the process ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class OutputToStderr:
    """Let all that the block prints go to standard error, also what libraries and child processes print."""

    def __enter__(self) -> None:
        self._stream, self._kept = sys.stdout, -1
        try:
            self._stream.flush()
            self._number, other = self._stream.fileno(), sys.stderr.fileno()
        except (OSError, ValueError):  # one that a program has put in its place may have no descriptor
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
