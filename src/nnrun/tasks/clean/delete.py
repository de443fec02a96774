"""Delete a run directory: never one that may be in use, nothing through a link, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnrun.base.errors import ResourceError
from nnrun.base.files import sync_folder
from nnrun.base.lock import locked
from nnrun.checkpoints.latest import latest_link
from nnrun.tasks.comparison.deleted import note_deleted
from nnrun.tasks.comparison.found import STATUS_NAME
from nnrun.tasks.comparison.read_run import Run

# What is being deleted is first renamed to a hidden name beside it: nothing takes it for a run any more.
_PREFIX = ".deleting-"
_MOST_DEPTH = 12


def why_kept(run: Run) -> str | None:
    """Return why a run must not be deleted, or None."""
    return next(_reasons(run), None)


def _reasons(run: Run) -> Iterator[str]:
    """Yield the reasons why a run must not be deleted."""
    if run.may_be_running:
        yield run.reason if run.reason and run.reason.startswith("running on") else "it is running"
    if not (run.path / STATUS_NAME).is_file() or (run.path / STATUS_NAME).is_symlink():
        yield f"it has no {STATUS_NAME}, so it may be no run"
    if run.path.is_symlink() or (run.is_link and not _is_latest(run)):
        yield "it was named by a link; name the directory that the link leads to"
    if _is_latest(run) and not run.is_named:
        yield f"{latest_link()} points to it; name it to delete it"
    if (inner := _run_within(run.path)) is not None:
        yield f"there is another run in it, {inner}"
    if run.path.is_mount() or run.path.resolve() in (Path.cwd(), *Path.cwd().parents):
        yield "it is in use as a folder: a mount, or around the current folder"


def _is_latest(run: Run) -> bool:
    """Return whether `latest`, of the current folder or of one above the run, points to a run."""
    real = os.path.realpath(run.path)
    places = [latest_link(), *(folder / latest_link().name for folder in run.path.absolute().parents)]
    return any(link.is_symlink() and os.path.realpath(link) == real for link in places)


def _run_within(folder: Path) -> Path | None:
    """Return a run directory within another, if there is one."""
    for place, names, files in os.walk(folder):
        if place != str(folder) and STATUS_NAME in files:
            return Path(place)
        if len(Path(place).relative_to(folder).parts) >= _MOST_DEPTH:
            names.clear()
    return None


def delete_run(run: Run) -> None:
    """Delete a run directory, and a link `latest` to it.

    It is renamed before anything in it is removed, so that an interrupt leaves a whole run or none. Raises
    ResourceError if it is in use, OSError if it cannot be removed.
    """
    links = [link for link in _latest_links(run.path) if os.path.realpath(link) == os.path.realpath(run.path)]
    with locked(run.path):
        if (reason := why_kept(run)) is not None:
            raise ResourceError(f"{run.path}: {reason}")
        aside = run.path.with_name(f"{_PREFIX}{run.path.name[:200]}-{os.urandom(4).hex()}")
        run.path.rename(aside)
    for link in links:
        link.unlink(missing_ok=True)
    sync_folder(aside.parent)
    remove_leftover(aside)
    note_deleted(run.path)


def _latest_links(run: Path) -> Iterator[Path]:
    """Yield the links `latest` of the current folder and of those above a run."""
    for link in (latest_link(), *(folder / latest_link().name for folder in run.absolute().parents)):
        if link.is_symlink():
            yield link


def remove_leftover(folder: Path) -> None:
    """Remove a directory that was renamed to be deleted. Links in it are removed, and not followed."""
    shutil.rmtree(folder)


def leftovers(runs: Sequence[Run]) -> list[Path]:
    """Return what deletions that were stopped have left beside some runs."""
    parents = dict.fromkeys(run.path.parent for run in runs)
    return [
        path
        for parent in parents
        for path in sorted(parent.glob(f"{_PREFIX}*"))
        if path.is_dir() and not path.is_symlink()
    ]
