"""`nnrun init DIR`: write the files of a small project, copied from the folder `starter`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnrun.base.errors import ConfigError
from nnrun.base.files import saving
from nnrun.base.paths import expanded, why_out_of_reach
from nnrun.config.composed import Composed
from nnrun.config.folders import shipped
from nnrun.runs.console import Console
from nnrun.tasks.init.record import TASK

_HOW = "nnrun init DIR creates a small project in DIR"


@dataclass(frozen=True)
class Project:
    """A project's folder and its files."""

    run: str
    files: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Return the project as plain values."""
        return {"task": TASK.name, **asdict(self)}


def init(_composed: Composed | None, words: Sequence[str], _directory: Path | None = None) -> Project:
    """Write the files of a project into the new or empty folder that the only word names."""
    folder = folder_named(words)
    source = shipped("starter")
    files = sorted(path.relative_to(source) for path in source.rglob("*") if _is_of_the_project(path))
    with saving(folder):
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes((source / file).read_bytes())
    console = Console()
    console.say(f"created a project in {folder}: {', '.join(map(str, files))}")
    console.say(f"next: cd {shlex.quote(str(folder))} && nnrun experiment=first")
    return Project(str(folder), [str(file) for file in files])


def folder_named(words: Sequence[str]) -> Path:
    """Return the folder that the words name; raise ConfigError if there is none, or it is in use."""
    if not words:
        raise ConfigError(f"{_HOW}; DIR is missing")
    if len(words) > 1:
        raise ConfigError(f"{_HOW}, and takes no other arguments: {shlex.join(words)}; quote a name with spaces")
    if "=" in words[0]:
        raise ConfigError(f"{_HOW}, and takes no settings: {words[0]}; use them with nnrun, in the project")
    folder = expanded(words[0])
    if reason := why_out_of_reach(folder):
        raise ConfigError(f"nnrun init {words[0]}: {reason}")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; choose a new or an empty folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; choose a new or an empty folder")
    return folder


def _is_of_the_project(path: Path) -> bool:
    """Return whether a file belongs to the project, and was not left by a test of it."""
    return path.is_file() and not {"__pycache__", "outputs", ".pytest_cache"} & set(path.parts)
