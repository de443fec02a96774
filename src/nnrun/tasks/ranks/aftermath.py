"""What the process that started the ranks does for a first rank that was killed."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path

from nnrun.base.errors import InterruptedRun, NnrunError, ResourceError
from nnrun.base.files import read_json, read_record, sweep_temporaries
from nnrun.base.foreign_errors import AGAIN
from nnrun.base.lock import is_locked
from nnrun.checkpoints.latest import latest_link, put_back
from nnrun.checkpoints.manifest import FOLDER_NAME, MANIFEST_NAME
from nnrun.runs.directory import RunDir
from nnrun.runs.summary import Summary
from nnrun.tasks.outcome import state_of
from nnrun.tasks.ranks.link import Opened


def can_resume(opened: Opened | None) -> bool:
    """Return whether a run has a checkpoint."""
    return opened is not None and (Path(opened.directory) / FOLDER_NAME / MANIFEST_NAME).exists()


def summary_of_finished(opened: Opened) -> Summary | None:
    """Return the summary of a run whose first rank was killed when its status said already that it is finished."""
    path = Path(opened.directory)
    if (read_record(path / "status.json") or {}).get("state") != "finished":
        return None
    with suppress(ResourceError, OSError):
        sweep_temporaries(path)  # of what comes last, such as the report
    with suppress(OSError, ValueError, TypeError):
        return Summary.from_json(read_json(path / "summary.json"))
    return None


def record_end(opened: Opened, error: NnrunError | InterruptedRun) -> None:
    """Record in its status how a run ended whose first rank could not, and say in the error how to resume it."""
    path = Path(opened.directory)
    if can_resume(opened):
        command = f"nnrun {shlex.quote(f'resume={path}')}{opened.reading}"
        error.reword(lambda text: text.replace(AGAIN, f"then resume with: {command}"))
    if is_locked(path):  # resumed meanwhile
        return
    out = RunDir(path)
    with suppress(ResourceError, OSError):
        sweep_temporaries(path)
        put_back(latest_link(), lost=path)
        out.remember(**out.earlier_status())
        out.end(state_of(error), error.exit_code, "\n".join(error.messages))
