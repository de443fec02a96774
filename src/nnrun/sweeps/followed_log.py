"""The log of a run on another machine, printed here as it grows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from nnrun.runs.console import Console


class FollowedLog:
    """The lines of a run's log that are not on the console yet."""

    def __init__(self, path: Path, console: Console) -> None:
        self._path, self._console = path, console
        self._position = 0

    def skip(self, num_kept: int) -> None:
        """Pass over what is there, but for some lines at its end."""
        with suppress(OSError):
            content = self._path.read_bytes()
            kept = content.splitlines(keepends=True)[-num_kept:] if num_kept else []
            self._position = len(content) - sum(map(len, kept))

    def show(self) -> None:
        """Print what is new, up to the end of the last line."""
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(self._position)
            new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._position += len(whole)
            for line in whole.decode(errors="replace").splitlines():
                self._console.say(line)
