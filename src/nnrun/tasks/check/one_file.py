"""Examine one file: by the hash that its run recorded, or as the weights that it is read as."""

from __future__ import annotations

from pathlib import Path

from nnrun.base.errors import ArtifactError
from nnrun.base.files import read_record, sha256_of
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.read import read_saved
from nnrun.runs.seal import KEY
from nnrun.tasks.check.examine import Examined
from nnrun.tasks.comparison.found import STATUS_NAME

# The state of what is no run.
FILE = "file"
# How deep in its run directory an exported file may be.
_MOST_LEVELS = 6
# What nnrun itself writes as weights; a checkpoint says its hash itself. Others may be code, and whole.
_WEIGHTS = (".ckpt", ".safetensors")


def examine_file(path: Path) -> Examined:
    """Return what is found in a file; raise ArtifactError for one of which nothing says what it should be."""
    found = Examined(path, FILE)
    stated = _stated(path)
    if stated is None and path.suffix not in _WEIGHTS:
        raise ArtifactError(f"ckpt={path}: no run recorded its hash, and it is no checkpoint; name a run directory")
    try:
        if stated is None:
            read_saved(locate(path, "best"))
        elif sha256_of(path) != stated:
            raise ArtifactError(f"{path} is not what its run wrote: its sha256 differs")
        found.count(path)
    except ArtifactError as error:
        found.blame(".", error)
    except OSError as error:
        found.blame(".", f"cannot be read: {error.strerror}")
    return found


def _stated(path: Path) -> str | None:
    """Return the sha256 that the run around a file recorded for it, if there is one."""
    absolute = path.absolute()
    for folder in absolute.parents[:_MOST_LEVELS]:
        if (folder / STATUS_NAME).is_file():
            files = (read_record(folder / STATUS_NAME) or {}).get(KEY)
            stated = files.get(absolute.relative_to(folder).as_posix()) if isinstance(files, dict) else None
            return stated if isinstance(stated, str) else None
    return None
