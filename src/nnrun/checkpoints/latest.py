"""The link outputs/latest: the newest training run, unless it failed before its first checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

from nnrun.base.files import read_record, saving, write_link
from nnrun.base.lock import is_locked

# In status.json: the link's target before the run.
BEFORE = "latest_before"
_CHECKPOINTS = Path("checkpoints") / "manifest.json"
_MOST_LOST = 1000


def latest_link(base: Path = Path("outputs")) -> Path:
    """Return the path of the link."""
    return base / "latest"


def point_latest(run: Path, base: Path = Path("outputs")) -> bool:
    """Make `outputs/latest` a link to a run, atomically, so that it is never missing.

    Return False, with nothing changed, if it exists and is not a link.
    """
    latest = latest_link(base)
    if latest.exists() and not latest.is_symlink():
        return False
    with saving(latest):
        base.mkdir(parents=True, exist_ok=True)
    write_link(latest, os.path.relpath(run, base))
    return True


def put_back(latest: Path, lost: Path | None = None) -> str | None:
    """Restore the link's target from before a run that failed before its first checkpoint; return a note.

    The run is `lost`, of this process, or one whose process has ended, perhaps killed. Return None if the link leads to
    a run that has a checkpoint or is still running, or to anything else.
    """
    gone: list[str] = []
    while latest.is_symlink() and len(gone) < _MOST_LOST:
        text = str(latest.readlink())
        run = latest.parent / text
        known, before = _before(run)
        is_ours = lost is not None and run.resolve() == lost.resolve()
        if not known or (run / _CHECKPOINTS).exists() or (not is_ours and is_locked(run)):
            break
        gone.append(text)
        if before is not None and (latest.parent / before).is_dir():
            write_link(latest, before)
        else:
            latest.unlink(missing_ok=True)
    if not gone:
        return None
    now = (
        f"points to {os.path.normpath(latest.parent / latest.readlink())} again"
        if latest.is_symlink()
        else "is removed"
    )
    return f"{os.path.normpath(latest.parent / gone[0])} failed before its first checkpoint; {latest} {now}"


def _before(run: Path) -> tuple[bool, str | None]:
    """Return whether a run recorded the link's target before it, and that target."""
    status = read_record(run / "status.json")
    if status is None or BEFORE not in status:
        return False, None
    before = status[BEFORE]
    return True, before if isinstance(before, str) and before and "\0" not in before else None
