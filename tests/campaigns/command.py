"""What a nursery's child does, as a line of JSON."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# The command line as a function: the words of a command to its exit code.
Main = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Command:
    """What a child does: call `main`, a function of a module, with words, in a folder, and exit with what it returns.

    `max_file_bytes`: no file may become larger (RLIMIT_FSIZE). `is_bound`: permissions hold for it even if it is root.
    `is_held`: it stops before the call, until SIGCONT comes.
    """

    main: Main
    folder: Path
    words: Sequence[str]
    max_file_bytes: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    is_bound: bool = False
    is_held: bool = False

    def to_line(self) -> str:
        """Return the command as a nursery reads it."""
        main = name_of(self.main)
        return json.dumps(vars(self) | {"main": main, "folder": str(self.folder), "words": list(self.words)}) + "\n"


def name_of(main: Main) -> str:
    """Return the name by which another process finds a function of a module."""
    return f"{main.__module__}:{main.__qualname__}"


def find_main(name: str) -> Main:
    """Return the function that `name_of` names."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)
