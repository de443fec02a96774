"""Which jobs of a sweep were deleted on purpose: a list in its folder, so that they are not missed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from nnrun.base.files import check_is_file, write_text

# The table of a sweep, in its folder; and the list, a name a line.
SWEEP_NAME, LIST_NAME = "sweep.json", "deleted.txt"
_MOST_BYTES = 2**20


def deleted_jobs(sweep: Path) -> list[str]:
    """Return the names of the directories that were deleted in the folder of a sweep, as far as they can be read."""
    path = sweep / LIST_NAME
    with suppress(OSError):
        check_is_file(path)
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode(errors="replace").splitlines()
    return []


def note_deleted(run: Path) -> None:
    """Add a directory to the list of its sweep, if it is a job of one. Raises ResourceError if that cannot be saved."""
    if (run.parent / SWEEP_NAME).is_file():
        names = dict.fromkeys([*deleted_jobs(run.parent), run.name])
        write_text(run.parent / LIST_NAME, "".join(f"{name}\n" for name in names))
