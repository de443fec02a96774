"""The seal of a run: the hashes of what it wrote, in its status.json, by which a later change is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nnrun.base.files import TEMPORARY_SUFFIX, sha256_of

# The key in status.json: the name of each file, relative to the run directory -> its sha256.
KEY = "files"
EXPORTS_NAME = "exports"
# The records of a run. Not its pages, which may be written again, and not run.log, whose end is still to come.
_RECORDS = (".json", ".jsonl", ".yaml", ".csv", ".npz")


def seal_of(run: Path) -> dict[str, str]:
    """Return the sha256 of each record and exported file in a run directory; checkpoints are in their manifest."""
    found = {}
    for path in sealed_files(run):
        with suppress(OSError):  # what cannot be read is not sealed
            found[path.relative_to(run).as_posix()] = sha256_of(path)
    return found


def sealed_files(run: Path) -> Iterator[Path]:
    """Yield the files of a run directory that are sealed, by name; nothing hidden, and no links."""
    records = (path for path in run.glob("*") if path.suffix in _RECORDS and path.name != "status.json")
    for path in sorted([*records, *(run / EXPORTS_NAME).rglob("*")]):
        hidden = any(part.startswith(".") for part in path.relative_to(run).parts)
        with suppress(OSError):  # in a folder that may not be entered
            if not hidden and path.suffix != TEMPORARY_SUFFIX and path.is_file() and not path.is_symlink():
                yield path
