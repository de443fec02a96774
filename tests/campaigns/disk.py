"""Campaigns against the promise that, whatever a disk does, a run says so, and what was saved is whole.

A disk that is full, and one that must not be written to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from campaigns.campaign import Arena, Result, nursery_of
from campaigns.command import Command
from campaigns.nursery import Nursery
from campaigns.subject import (
    Disturbance,
    Subject,
    disturb_each,
    expect,
    expect_refusal,
    is_committed,
    wait_until_running,
)
from nnrun.base.errors import ArtifactError
from nnrun.base.foreign_errors import AGAIN, explain
from nnrun.checkpoints.manifest import FOLDER_NAME, read_manifest

# What must be said of each cause; of a full disk there is more than one message.
FULL = "free some space"
# With or without a checkpoint to resume from: what to do then differs.
TOO_LARGE = explain(OSError(errno.EFBIG, "")).removesuffix(f", {AGAIN}")
SEALED = explain(OSError(errno.EACCES, ""))
# How a run is disturbed and finished in a directory.
Way = Callable[[Subject, Path, random.Random], None]


def disk_full(arena: Arena, count: int) -> Result:
    """Let files reach a limit, and a small disk be full, from the start of a run or from a random moment on.

    A count of two is too short for the small disk: it takes a nursery of its own.
    """
    result, folder = Result("disk full"), arena.folder / "small"
    folder.mkdir()
    ways: list[Way] = [_limit_files, *([_limit_files_later] if hasattr(resource, "prlimit") else [])]
    with contextlib.ExitStack() as stack:
        try:
            if count > len(ways):
                small = SmallDisk(stack.enter_context(Nursery(mounting(folder))), folder)
                ways += [partial(_fill_disk, small), partial(_fill_disk_later, small)]
        except (ChildProcessError, FileNotFoundError) as error:
            result.notes.append(f"no small disk could be mounted: {error}")
        return disturb_each(arena, count, result, _by_turns(ways), ("plain",))


def _by_turns(ways: Sequence[Way]) -> Disturbance:
    """Return a disturbance that goes one way after the other."""
    return lambda subject, run, draw, number: ways[number % len(ways)](subject, run, draw)


def _checkpoint_bytes(subject: Subject) -> int:
    """Return the size of the whole run's largest checkpoint."""
    return max(entry.bytes for entry in read_manifest(subject.whole / FOLDER_NAME).files)


def _limit_files(subject: Subject, run: Path, draw: random.Random) -> None:
    """Allow no file larger than some bytes, from the start."""
    limit = draw.randrange(_checkpoint_bytes(subject) * 6 // 5)
    expect_refusal(subject, run, subject.start(run, max_file_bytes=limit), TOO_LARGE)
    subject.finish(run)


def _limit_files_later(subject: Subject, run: Path, draw: random.Random) -> None:
    """Allow no file larger than some bytes, from a random moment on."""
    child = subject.start(run)
    time.sleep(draw.uniform(0, subject.seconds))
    limit = draw.randrange(_checkpoint_bytes(subject) * 6 // 5)
    with contextlib.suppress(ProcessLookupError):
        hard = resource.prlimit(child.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (limit, hard))
    expect_refusal(subject, run, child, TOO_LARGE)
    subject.finish(run)


SMALL_DISK_BYTES = 16 << 20


def mounting(folder: Path) -> tuple[str, ...]:
    """Return the words that mount a small disk in a folder, for the program that follows them alone."""
    root = () if os.geteuid() == 0 else ("--map-root-user",)
    script = 'mount -t tmpfs -o size="$1" nnrun "$2" && shift 2 && exec "$@"'
    return ("unshare", "--mount", *root, "sh", "-c", script, "sh", str(SMALL_DISK_BYTES), str(folder))


@dataclass(frozen=True)
class SmallDisk:
    """A disk that only the processes of one nursery have, and a file that takes its room."""

    nursery: Nursery
    folder: Path

    def take(self, subject: Subject, run: Path) -> tuple[Subject, Path]:
        """Return a subject, and a run of it, that live on the disk."""
        self.make_room()
        return replace(subject, nursery=self.nursery), self.folder / run.name

    def fill(self, leaving: int = 0) -> None:
        """Take the room that is free, but for some bytes."""
        folder = self.nursery.seen(self.folder)
        room = os.statvfs(folder)
        with contextlib.suppress(OSError), (folder / "filler").open("ab", buffering=0) as file:
            file.write(bytes(max(room.f_bavail * room.f_frsize - leaving, 0)))

    def make_room(self) -> None:
        """Give back what `fill` took."""
        (self.nursery.seen(self.folder) / "filler").unlink(missing_ok=True)


def _fill_disk(small: SmallDisk, subject: Subject, run: Path, draw: random.Random) -> None:
    """Leave room for at most five checkpoints, from the start."""
    subject, run = small.take(subject, run)
    small.fill(leaving=draw.randrange(5 * _checkpoint_bytes(subject)))
    expect_refusal(subject, run, subject.start(run), FULL)
    small.make_room()
    subject.finish(run)


def _fill_disk_later(small: SmallDisk, subject: Subject, run: Path, draw: random.Random) -> None:
    """Leave no room, not even what the run itself frees, from a random moment on."""
    subject, run = small.take(subject, run)
    child = subject.start(run)
    time.sleep(draw.uniform(0, subject.seconds))
    while child.is_alive():
        small.fill()
        time.sleep(0.001)
    expect_refusal(subject, run, child, FULL)
    small.make_room()
    subject.finish(run)


def read_only(arena: Arena, count: int) -> Result:
    """Take away the permission to write to a folder, before a run or at a random moment of it."""
    result = Result("read-only folders")
    with nursery_of(arena) as nursery:
        probe = arena.folder / "probe"
        probe.mkdir(mode=0o500)
        if nursery.start(Command(is_writable, probe, (), is_bound=True)).wait() == 0:
            result.notes.append("a folder without permission to write can be written to here")
            return result
        return disturb_each(
            replace(arena, nursery=nursery), count, result, _by_turns([_seal_early, _seal_later]), ("plain",)
        )


def is_writable(_words: Sequence[str]) -> int:
    """Return 0 where the process can create a file in the folder that it is in. (A child's main.)"""
    try:
        Path("file").touch()
    except OSError:
        return 1
    return 0


@contextlib.contextmanager
def _sealed(folder: Path) -> Iterator[None]:
    """Let nobody create, rename or remove a file in a folder in the block."""
    folder.chmod(0o500)
    try:
        yield
    finally:
        folder.chmod(0o755)


def _seal_early(subject: Subject, run: Path, _draw: random.Random) -> None:
    """Start where nothing can be created."""
    folder = run.parent / f"sealed-{run.name}"
    folder.mkdir()
    run = folder / run.name
    with _sealed(folder):
        expect_refusal(subject, run, subject.start(run, is_bound=True), SEALED)
    subject.finish(run)


def _seal_later(subject: Subject, run: Path, draw: random.Random) -> None:
    """Seal the run directory, or that of its checkpoints, at a random moment; then try to go on in it."""
    child = subject.start(run, is_bound=True)
    wait_until_running(child, run)
    time.sleep(draw.uniform(0, subject.running_seconds))
    folder = draw.choice([run, run / FOLDER_NAME])
    with _sealed(folder if folder.exists() else run):
        code = expect_refusal(subject, run, child, SEALED)
        # A run whose last write was made before ends well, and says so again.
        expect(subject.resume(run, is_bound=True), code if is_committed(run) else ArtifactError.exit_code)
    subject.finish(run)
