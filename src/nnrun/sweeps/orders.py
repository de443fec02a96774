"""Carry out a job of a sweep in this process, and say how it ended."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nnrun.base.errors import BUG, InterruptedRun, NnrunError, ResourceError, complain
from nnrun.base.files import write_json
from nnrun.base.foreign_errors import of_the_system
from nnrun.base.foreign_messages import show_traceback
from nnrun.base.invocation import begin
from nnrun.base.lock import LOCK_NAME
from nnrun.base.ranks import this_rank
from nnrun.base.secrets import hide_known, secrets_in_words
from nnrun.base.signals import in_force
from nnrun.config.compose import compose_config
from nnrun.config.composed import Composed
from nnrun.config.folders import find_modules_beside
from nnrun.config.rules import Rules
from nnrun.runs.directory import STATUS_SCHEMA
from nnrun.sweeps.seams import Ended, Order
from nnrun.tasks.table import perform

# What a run directory keeps when a job starts anew in it; the folders are those of a run in Slurm.
_KEPT = (LOCK_NAME, "run.log", "slurm", "code")
_MANIFEST = Path("checkpoints") / "manifest.json"


def carry_out(order: Order, own: Sequence[Path], rules: Rules, *, says: bool = True) -> Ended:
    """Run a job in this process, in its directory, and return how it ended; print its errors if it `says` them.

    `own` are the user's config folders. An interrupt ends the job; that it was one is seen from its exit code.
    """
    start = time.perf_counter()
    begin()
    code, reason, summary = 0, "", None
    try:
        find_modules_beside(own)
        composed, words = _ready(order, own, rules)
        if order.is_single:
            reached = perform(replace(composed, made_dir=order.directory), words)
        else:
            reached = perform(composed, words, order.directory)
        summary = reached.to_json() if reached is not None else None
    except (KeyboardInterrupt, InterruptedRun) as error:
        code, reason = getattr(error, "exit_code", 130), _told(order, getattr(error, "messages", ()), says)
    except NnrunError as error:
        code, reason = error.exit_code, _told(order, error.messages, says)
    except (Exception, SystemExit) as error:
        if heard := in_force().heard:  # a library may have turned an interrupt into another error
            code, reason = 128 + heard, "interrupted"
        elif isinstance(error, Exception) and (machine := of_the_system(error)):
            code, reason = machine.exit_code, _told(order, machine.messages, says)
        else:
            show_traceback()
            code, reason = BUG, _told(order, [f"{type(error).__name__}: {error}"], says)
    if this_rank().is_first:
        leave_status(order.directory, code, reason)
    is_environments = code == ResourceError.exit_code
    return Ended(order.number, code, reason, summary, is_environments, round(time.perf_counter() - start, 3))


def check_order(order: Order, *, is_here: bool = True) -> Ended | None:
    """Run the checks of a job that need torch, in this process; return its end if it cannot run.

    `is_here`: it runs on this machine, whose devices are checked too. An error that is not about the config is left to
    the job itself.
    """
    from nnrun.tasks.for_sweeps import check  # noqa: PLC0415 - needs torch, as the job does

    try:
        if order.composed is not None:
            check(order.composed, is_here=is_here)
    except NnrunError as error:
        reason = _told(order, error.messages, says=False)
        return Ended(order.number, error.exit_code, reason, None, error.exit_code == ResourceError.exit_code)
    except (Exception, SystemExit):
        pass
    return None


def check_here(orders: Sequence[Order]) -> list[Ended]:
    """Run the checks of jobs that need torch, in this process, where they will run; return the ends of wrong ones."""
    from nnrun.tasks.for_sweeps import verify_by_forks  # noqa: PLC0415 - as above

    for order in orders:
        verify_by_forks(order.composed)  # before a device is used
    return [ended for order in orders if (ended := check_order(order)) is not None]


def _ready(order: Order, own: Sequence[Path], rules: Rules) -> tuple[Composed, Sequence[str]]:
    """Return the checked config of a job, and the words that made it, to start it or to resume it."""
    composed = order.composed or compose_config(order.words, own, rules)
    if not order.resumes:
        return composed, order.words
    if not (order.directory / _MANIFEST).exists():
        if this_rank().is_first:
            _empty(order.directory)
        return composed, order.words
    from nnrun.tasks.for_sweeps import words_to_resume  # noqa: PLC0415 - needs torch, as the job does

    words = words_to_resume(composed, order.directory)
    return compose_config(words, own, rules), words


def _empty(directory: Path) -> None:
    """Remove what a job left that was killed before its first checkpoint."""
    for path in directory.iterdir():
        if path.name in _KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _told(order: Order, messages: Sequence[str], says: bool) -> str:
    """Print the messages of an error if it `says` them, without secrets, and return them as a reason."""
    told = [hide_known(message, secrets_in_words(order.words)) for message in messages]
    if says:
        complain(told)
    return "\n".join(told)


def leave_status(directory: Path, code: int, reason: str) -> None:
    """Write a status for a job that failed before its run had one."""
    path = directory / "status.json"
    if code and directory.is_dir() and not path.exists():
        write_json(path, {"state": "failed", "exit_code": code, "reason": reason}, STATUS_SCHEMA)


def as_message(ended: Ended) -> dict[str, Any]:
    """Return the end of a job as plain values."""
    return asdict(ended)


def from_message(message: Mapping[str, Any]) -> Ended:
    """Return the end of a job that `as_message` made plain."""
    return Ended(**message)
