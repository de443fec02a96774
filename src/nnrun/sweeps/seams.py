"""The two seams of a sweep: a Search proposes what to try next, a Launcher runs it; jobs and events go between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nnrun.config.composed import Composed


class JobState(StrEnum):
    """What became of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    # Stopped by the search, with a checkpoint: it may be resumed later, bit for bit.
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    # Ended early by the search, for good.
    PRUNED = "pruned"
    # Stopped with the sweep, or killed; resuming the sweep resumes it.
    INTERRUPTED = "interrupted"


class Decision(StrEnum):
    """What a job is told after a validation."""

    GO_ON = "go on"
    PAUSE = "pause"
    STOP = "stop"


@dataclass(frozen=True)
class Proposal:
    """Settings that a search wants tried: swept key -> value as typed; `number` is the search's own."""

    number: int
    chosen: Mapping[str, str]


@dataclass(frozen=True)
class Order:
    """A job for a launcher: all words of its command line, its directory, and whether it resumes what is there.

    With `resumes` the words are those of the job itself, without `resume=`. `composed` is its checked config, so that a
    YAML file that is edited meanwhile changes nothing; without one, the launcher composes the words. One that
    `is_alone` is not trained together with others. One that `is_single` is a run, and no job of a sweep.
    """

    number: int
    words: Sequence[str]
    directory: Path
    resumes: bool = False
    composed: Composed | None = None
    is_alone: bool = False
    is_single: bool = False


@dataclass(frozen=True)
class Progress:
    """A validation of a running job: its epoch, step and metrics. Unless `awaits` is false it waits for `answer`."""

    number: int
    epoch: float
    step: int
    metrics: Mapping[str, float]
    awaits: bool = True


@dataclass(frozen=True)
class Ended:
    """The end of a job: its exit code, the reason if it failed, and the contents of its summary, if it has one.

    `is_environments_fault` says that another try may succeed (code 5: memory, disk, a device that is gone). Jobs that
    were trained together have the same `stack`, the number of one of them.
    """

    number: int
    exit_code: int
    reason: str = ""
    summary: Mapping[str, Any] | None = None
    is_environments_fault: bool = False
    seconds: float = 0.0
    files: Mapping[str, str] = field(default_factory=dict)
    stack: int | None = None


Event = Progress | Ended


class Search(Protocol):
    """A way to choose what to try: a grid, random draws, or a model of what was seen.

    It is a function of the seed and of what it was told, in order: a resumed sweep tells it again what is on disk.
    """

    def ask(self) -> Proposal | None:
        """Return what to try next; None if there is nothing now (see `is_done`)."""

    @property
    def is_done(self) -> bool:
        """Whether nothing more will be proposed, whatever it is told."""

    def report(self, number: int, step: int, value: float) -> Decision:
        """Take the monitored validation metric of a running proposal, and say what its job shall do."""

    def resumable(self) -> Sequence[int]:
        """Return the paused proposals that deserve more training now, best first."""

    def tell(self, number: int, value: float | None) -> None:
        """Take the final value of a proposal; None if its job failed or diverged."""


@dataclass(frozen=True)
class Expected:
    """What is known of the jobs of a search before it proposes any: how many at most, and the section `trainer` of one.

    `awaits` says that jobs wait for a decision after each validation.
    """

    num_jobs: int
    awaits: bool
    trainer: Mapping[str, Any]


@runtime_checkable
class Recallable(Protocol):
    """A search with a memory: its `events` are in the record of the sweep, and `recall` brings the same search back."""

    # What it was asked and told, in order, as JSON has it.
    events: list[Any]
    # What launchers want to know before the first job.
    expected: Expected

    def recall(self, events: Sequence[Any]) -> None:
        """Be asked and told the same again."""

    def count_time(self, seconds: float) -> None:
        """Count the time that an earlier process used: there is less left."""

    def keep_in(self, folder: Path) -> None:
        """Keep files of its own in the folder of the sweep, from now on."""

    @property
    def paused(self) -> Collection[int]:
        """The proposals that were told to pause and have not reported since."""

    def give_up(self) -> None:
        """Take note that what is still paused was ended early; a longer search may take it up again."""


class Launcher(Protocol):
    """A place where jobs run: this process, processes of this machine, a cluster."""

    @property
    def num_slots(self) -> int:
        """How many jobs run at once."""

    def check(self, orders: Sequence[Order]) -> Sequence[Ended]:
        """Run the checks that need torch on jobs that are to start, before any does; return the ends of wrong ones."""

    def start(self, order: Order) -> None:
        """Start a job; at most `num_slots` run at once."""

    def wait(self, seconds: float) -> Sequence[Event]:
        """Return what happened, at once if something did, after `seconds` at the latest."""

    def answer(self, number: int, decision: Decision) -> None:
        """Answer the last Progress of a job."""

    def stop(self) -> None:
        """Ask the running jobs to save and stop, as by SIGTERM; their `Ended` follow."""

    def close(self) -> None:
        """Kill what still runs, and give back all that was taken."""
