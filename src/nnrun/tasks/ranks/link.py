"""What a rank tells the process that started it, and asks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from nnrun.base.errors import (
    BUG,
    ArtifactError,
    ConfigError,
    DataError,
    DivergedError,
    InterruptedRun,
    NnrunError,
    ResourceError,
    reached_before,
    tell_reached,
)
from nnrun.base.foreign_errors import of_the_system
from nnrun.base.foreign_messages import show_traceback

if TYPE_CHECKING:
    from nnrun.runs.summary import Summary

_CLASSES = {each.exit_code: each for each in (ConfigError, DataError, ArtifactError, ResourceError, DivergedError)}
# How long a rank waits for the news of another that is gone: the kernel tells the launcher at once.
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Opened:
    """The first rank has a run directory; `reading` has the words with which its checkpoints are read."""

    directory: str
    reading: str


@dataclass(frozen=True)
class Left:
    """A rank has trained, or an error ended that: it no longer needs the others."""


@dataclass(frozen=True)
class Ended:
    """How a rank ended: its exit code, the messages of its error, and what it reached."""

    exit_code: int = 0
    messages: Sequence[str] = ()
    reached: Mapping[str, Any] | None = None
    summary: Summary | None = None
    # Whether it has shown where in our code the error was.
    is_shown: bool = False

    @property
    def is_stopped(self) -> bool:
        """Whether a signal stopped it."""
        return self.exit_code > BUG

    def error(self) -> NnrunError | InterruptedRun:
        """Return its error, as one of this process."""
        error: NnrunError | InterruptedRun
        if self.is_stopped:
            error = InterruptedRun(self.exit_code - 128, *self.messages)
        else:
            error = _CLASSES.get(self.exit_code, NnrunError)(*self.messages)
        if self.reached is not None:
            tell_reached(error, self.reached)
        return error


def ended_by(error: BaseException) -> Ended:
    """Return the end of a rank that an error ended; show the traceback of an error of ours."""
    reached = reached_before(error)
    if isinstance(error, NnrunError | InterruptedRun):
        return Ended(error.exit_code, error.messages, reached)
    if isinstance(error, KeyboardInterrupt):
        return Ended(130, ("interrupted",), reached)
    machine = of_the_system(error) if isinstance(error, Exception) else None
    if machine is not None:
        return Ended(machine.exit_code, machine.messages, reached)
    show_traceback()
    return Ended(BUG, (f"this is a bug in nnrun: {type(error).__name__}: {error}",), reached, is_shown=True)


# The end of this process's pipe to the one that started it as a rank.
_LINK: list[Connection] = []


def keep_link(link: Connection) -> None:
    """Set the pipe to the process that started this one."""
    _LINK.append(link)


def tell(message: Opened | Left | Ended) -> None:
    """Tell the process that started this one, if one of ours did."""
    for link in _LINK:
        link.send(message)


def news_of_others(*, waits: bool = True) -> Ended | None:
    """Return how another rank ended, now that it can no longer be reached; None if nobody knows (yet)."""
    for link in _LINK:
        if link.poll(_ANSWER_SECONDS if waits else 0):
            news = link.recv()
            assert isinstance(news, Ended)
            return news
    return None
