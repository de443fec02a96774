"""Be one of the processes of a training, from its fork to its exit."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import IO, TYPE_CHECKING, NoReturn

from nnrun.base.ending import die_with_parent
from nnrun.base.errors import BUG
from nnrun.base.foreign_messages import show_traceback
from nnrun.base.guard import guard, leave_with, watch
from nnrun.base.ranks import Rank, become_rank
from nnrun.config.composed import Composed
from nnrun.tasks.ranks.link import Ended, ended_by, keep_link, tell

if TYPE_CHECKING:
    from nnrun.runs.summary import Summary


def be_rank(
    rank: Rank,
    link: Connection,
    errors: IO[bytes],
    run: Callable[[], Summary | None],
    composed: Composed,
) -> NoReturn:
    """Run as a rank, tell how that ended, and exit. The first keeps the streams; the others' stderr is kept apart."""
    code = BUG
    try:
        assert rank.launcher is not None
        os.setpgid(0, 0)
        die_with_parent(rank.launcher)
        guard()
        watch()
        for each in list(weakref.finalize._registry):  # type: ignore[attr-defined]
            each.atexit = False  # folders of the process that started this one
        become_rank(rank)
        keep_link(link)
        _open_again(composed)
        if not rank.is_first:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            os.dup2(errors.fileno(), sys.stderr.fileno())
        try:
            ended = Ended(summary=run())
        except BaseException as error:
            ended = ended_by(error)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        code = ended.exit_code
        tell(ended)
    except BaseException:
        show_traceback()
    leave_with(code)


def _open_again(composed: Composed) -> None:
    """Open the file that the config comes from anew: forks share the place at which they read a file."""
    source = composed.source
    saved = [each for each in (source.saved, source.start) if each is not None] if source is not None else []
    for each in saved:
        descriptor = each.file.stream.fileno()
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        os.lseek(own, os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)  # where its buffer takes it to be
        os.dup2(own, descriptor, inheritable=False)
        os.close(own)
