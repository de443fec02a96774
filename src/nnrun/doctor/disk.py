"""Campaigns against the promise that, whatever a disk does, a run says so, and what was saved is whole.

A disk that is full, one that must not be written to, one that fails to sync, and a process that is killed at each of
the calls that a save makes to the disk.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from nnrun.doctor.campaign import Arena, Broken, Main, Result, counting
from nnrun.doctor.kills import (
    Disturbance,
    Subject,
    check_files,
    compare,
    disturb_each,
    expect,
    is_committed,
    undisturbed,
    wait_until_running,
)
from nnrun.doctor.nursery import Child, Command, Nursery, find_main, name_of, nursery_of
from nnrun.errors import ArtifactError, ResourceError
from nnrun.faults import explain
from nnrun.files import TEMPORARY_SUFFIX, DurableFile
from nnrun.manifest import FOLDER_NAME, MANIFEST_NAME, read_manifest

# What must be said of each cause; of a full disk there is more than one message.
FULL = "free some space"
TOO_LARGE = explain(OSError(errno.EFBIG, ""))
SEALED = explain(OSError(errno.EACCES, ""))
UNSYNCED = explain(OSError(errno.EIO, ""))


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
                small = SmallDisk(stack.enter_context(Nursery(_mounting(folder))), folder)
                ways += [partial(_fill_disk, small), partial(_fill_disk_later, small)]
        except (ChildProcessError, FileNotFoundError) as error:
            result.notes.append(f"no small disk could be mounted: {error}")
        return disturb_each(arena, count, result, _by_turns(ways), ("plain",))


# How a run is disturbed and finished in a directory.
Way = Callable[[Subject, Path, random.Random], None]


def _by_turns(ways: Sequence[Way]) -> Disturbance:
    """Return a disturbance that goes one way after the other."""
    return lambda subject, run, draw, number: ways[number % len(ways)](subject, run, draw)


def _refused(subject: Subject, run: Path, child: Child, cause: str) -> int:
    """Wait for a run that the disk refuses something; return its exit code, 0 where it had all it needed before.

    Raises Broken where it does not name the cause, or says that it ended well and did not.
    """
    code = expect(child, 0, ResourceError.exit_code)
    if code and cause not in child.stderr:
        raise Broken("unexplained", f"stderr does not say {cause!r}: {child.stderr.strip()}")
    if not code:
        compare(subject.nursery.seen(run), subject.whole)
    return code


def _checkpoint_bytes(subject: Subject) -> int:
    """Return the size of the whole run's largest checkpoint."""
    return max(entry.bytes for entry in read_manifest(subject.whole / FOLDER_NAME).files)


def _limit_files(subject: Subject, run: Path, draw: random.Random) -> None:
    """Allow no file larger than some bytes, from the start."""
    limit = draw.randrange(_checkpoint_bytes(subject) * 6 // 5)
    _refused(subject, run, subject.start(run, max_file_bytes=limit), TOO_LARGE)
    subject.finish(run)


def _limit_files_later(subject: Subject, run: Path, draw: random.Random) -> None:
    """Allow no file larger than some bytes, from a random moment on."""
    child = subject.start(run)
    time.sleep(draw.uniform(0, subject.seconds))
    limit = draw.randrange(_checkpoint_bytes(subject) * 6 // 5)
    with contextlib.suppress(ProcessLookupError):
        hard = resource.prlimit(child.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (limit, hard))
    _refused(subject, run, child, TOO_LARGE)
    subject.finish(run)


SMALL_DISK_BYTES = 16 << 20


def _mounting(folder: Path) -> tuple[str, ...]:
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
    _refused(subject, run, subject.start(run), FULL)
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
    _refused(subject, run, child, FULL)
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
        _refused(subject, run, subject.start(run, is_bound=True), SEALED)
    subject.finish(run)


def _seal_later(subject: Subject, run: Path, draw: random.Random) -> None:
    """Seal the run directory, or that of its checkpoints, at a random moment; then try to go on in it."""
    child = subject.start(run, is_bound=True)
    wait_until_running(child, run)
    time.sleep(draw.uniform(0, subject.running_seconds))
    folder = draw.choice([run, run / FOLDER_NAME])
    with _sealed(folder if folder.exists() else run):
        code = _refused(subject, run, child, SEALED)
        # A run whose last write was made before ends well, and says so again.
        expect(subject.resume(run, is_bound=True), code if is_committed(run) else ArtifactError.exit_code)
    subject.finish(run)


def failing_fsync(arena: Arena, count: int) -> Result:
    """Let one fsync of a run fail, each of them by turns or `count` of them (0: each); then go on with the run."""
    return _at_each_call(arena, count, Result("failing fsync"), ("fsync",), FAILS)


def kill_run_at_each_call(arena: Arena, count: int) -> Result:
    """Kill a run at each call that it makes to the disk, or at `count` of them (0: each); then go on with the run."""
    return _at_each_call(arena, count, Result("killed at each call of a run"), TO_DISK, KILLS)


def _at_each_call(arena: Arena, count: int, result: Result, names: Sequence[str], effect: str) -> Result:
    """Let one call of a short run have an effect, by turns, and finish the run."""
    draw, run = arena.draw, arena.folder / "run"
    with nursery_of(arena) as nursery, counting(result, "undisturbed", tries=0):
        subject = undisturbed(arena, nursery, "plain", "trainer.max_steps=3")
        command = Command(subject.main, arena.folder, (*subject.words, f"hydra.run.dir={run}"))
        tracer = tracer_of(nursery, arena.folder, result)
        calls = tracer.calls(command, names)
        for call in spread(calls, count, draw):
            shutil.rmtree(run, ignore_errors=True)
            with counting(result, f"{call.name} {call.nth}"):
                child = tracer.start(command, call, effect)
                if effect == KILLS:
                    expect(child, -signal.SIGKILL)
                elif _refused(subject, run, child, UNSYNCED) == 0:
                    raise Broken("unexplained", "it failed, and the run ended well")
                subject.finish(run)
    return result


def kill_at_each_call(arena: Arena, count: int, save: Main | None = None) -> Result:
    """Kill a process at each call that one save makes to the disk, or at `count` of them (0: each); then save again.

    The manifest must be that before the save or that after it, all that it names whole, and the second save must leave
    the folder as if the first had never been. `save` is what `save_again` is.
    """
    result, draw = Result("killed at each call of a save"), arena.draw
    with nursery_of(arena) as nursery, counting(result, "undisturbed", tries=0):
        whole = undisturbed(arena, nursery, "plain", "trainer.max_steps=3").whole
        source = whole / FOLDER_NAME / str(read_manifest(whole / FOLDER_NAME).last)

        def saving(name: str) -> tuple[Path, Command]:
            run = arena.folder / name
            shutil.copytree(whole / FOLDER_NAME, run / FOLDER_NAME)
            # What an earlier kill has left, so that its removal is among what is broken off.
            (run / FOLDER_NAME / f".left{TEMPORARY_SUFFIX}").touch()
            (run / FOLDER_NAME / "step-00000001-00000000.ckpt").touch()
            return run, Command(save or save_again, arena.folder, (str(run), str(source)))

        after, command = saving("after")
        expect(nursery.start(command), 0)
        manifests = [(run / FOLDER_NAME / MANIFEST_NAME).read_bytes() for run in (whole, after)]
        tracer = tracer_of(nursery, arena.folder, result)
        calls = tracer.calls(saving("counted")[1], TO_DISK)
        for call in spread(calls, count, draw):
            with counting(result, f"{call.name} {call.nth}"):
                run, command = saving(f"{call.name}-{call.nth}")
                expect(tracer.start(command, call, KILLS), -signal.SIGKILL)
                check_files(run)
                if (run / FOLDER_NAME / MANIFEST_NAME).read_bytes() not in manifests:
                    raise Broken("lost", "the manifest is neither the one before the save nor the one after it")
                expect(nursery.start(command), 0)
                _check_same_files(run / FOLDER_NAME, after / FOLDER_NAME)
                shutil.rmtree(run)
    return result


def save_again(words: Sequence[str]) -> int:
    """Save a checkpoint, the second word, as that of the next step into a run, the first. (A child's main.)"""
    from nnrun.core.checkpoint import CheckpointFolder, load_payload  # noqa: PLC0415 - imports torch

    run, source = map(Path, words)
    payload = load_payload(source)
    del payload["schema"]
    CheckpointFolder(run, keep_last=2).save(payload, payload["training"]["progress"]["step"] + 1, is_best=False)
    return 0


def _check_same_files(folder: Path, wanted: Path) -> None:
    """Raise Broken unless two folders hold the same files."""
    ours, theirs = ({path.name: path.read_bytes() for path in side.iterdir()} for side in (folder, wanted))
    if leftovers := sorted(ours.keys() - theirs.keys()):
        raise Broken("unexplained", f"left behind: {', '.join(leftovers)}")
    if ours != theirs:
        raise Broken("different", f"other files than without the kill: {', '.join(sorted(theirs))}")


# What is done to a call, in strace's words.
FAILS, KILLS = "error=EIO", "signal=KILL"
# The system calls that change what is on a disk; not every machine has each.
TO_DISK = (
    *("openat", "creat", "write", "pwrite64", "writev", "fsync", "fdatasync", "fchmod", "chmod", "ftruncate"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "link", "linkat"),
)
# Where each can be got hold of in Python, for want of strace.
_IN_PYTHON: dict[str, tuple[object, str]] = {
    "openat": (os, "open"),
    "write": (DurableFile, "write"),
    "fsync": (os, "fsync"),
    "fchmod": (os, "fchmod"),
    "ftruncate": (os, "ftruncate"),
    "rename": (os, "rename"),
    "renameat": (os, "replace"),
    "unlink": (os, "unlink"),
    "mkdir": (os, "mkdir"),
}


@dataclass(frozen=True)
class Call:
    """The nth call, from 1, of a name."""

    name: str
    nth: int


def spread(calls: Sequence[Call], count: int, draw: random.Random) -> list[Call]:
    """Return `count` of the calls, one out of each of as many equal parts; 0: all."""
    if count == 0 or count >= len(calls):
        return list(calls)
    bounds = [number * len(calls) // count for number in range(count + 1)]
    return [calls[draw.randrange(*part)] for part in itertools.pairwise(bounds)]


class Tracer(Protocol):
    """Count the calls of a command, and let something happen to one of them."""

    def calls(self, command: Command, names: Sequence[str]) -> list[Call]:
        """Return the calls of these names that a command makes; raise Broken unless it ends well."""
        ...

    def start(self, command: Command, call: Call, effect: str) -> Child:
        """Run a command, to its end, with an effect on one call."""
        ...


def tracer_of(nursery: Nursery, folder: Path, result: Result) -> Tracer:
    """Return the best tracer that can be had here, and note which."""
    strace = Strace(nursery, folder / "trace")
    try:
        strace.start(Command(is_writable, folder, ()), Call("fsync", 1), FAILS)
    except (FileNotFoundError, PermissionError) as error:
        result.notes.append(f"by wrapping Python's calls, since strace cannot be used: {error}")
        return Wrapping(nursery, folder / "trace")
    result.notes.append("by strace")
    return strace


@dataclass(frozen=True)
class Strace:
    """Linux's strace, attached to a child before its main is called. It sees every call as the kernel does."""

    nursery: Nursery
    trace: Path

    def calls(self, command: Command, names: Sequence[str]) -> list[Call]:
        child = self._follow(command, "-e", "trace=" + ",".join(f"?{name}" for name in names))
        expect(child, 0)
        calls, counts = [], Counter[str]()
        for line in self.trace.read_text(errors="replace").splitlines():
            if called := re.match(r"(\w+)\(", line):
                name = called[1]
                counts[name] += 1
                if name != "openat" or "O_CREAT" in line:
                    calls.append(Call(name, counts[name]))
        return calls

    def start(self, command: Command, call: Call, effect: str) -> Child:
        inject = f"inject={call.name}:{effect}:when={call.nth}"
        return self._follow(command, "-e", f"trace={call.name}", "-e", inject)

    def _follow(self, command: Command, *options: str) -> Child:
        """Run a command under strace; raise FileNotFoundError or PermissionError where that cannot be done."""
        if shutil.which("strace") is None:
            raise FileNotFoundError("it is not installed")
        child = self.nursery.start(replace(command, is_held=True))
        child.wait_until_held()
        words = ["strace", "-p", str(child.pid), "-o", str(self.trace), *options]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            said = strace.stderr.readline()
            child.send(signal.SIGCONT)
            child.wait()
            strace.stderr.read()
        if "attached" not in said:
            raise PermissionError(said.strip())
        return child


@dataclass(frozen=True)
class Wrapping:
    """Python's own functions, wrapped in the child: what libraries in other languages call is not seen."""

    nursery: Nursery
    trace: Path

    def calls(self, command: Command, names: Sequence[str]) -> list[Call]:
        expect(self.start(command, Call("", 0), FAILS), 0)
        calls, counts = [], Counter[str]()
        for name in self.trace.read_text().split():
            counts[name] += 1
            if name in names:
                calls.append(Call(name, counts[name]))
        return calls

    def start(self, command: Command, call: Call, effect: str) -> Child:
        words = (str(self.trace), call.name, str(call.nth), effect, name_of(command.main), *command.words)
        child = self.nursery.start(replace(command, main=wrapped, words=words))
        child.wait()
        return child


def wrapped(words: Sequence[str]) -> int:
    """Call a main with Python's calls to the disk wrapped, and write down which there were. (A child's main.)"""
    trace, name, nth, effect, main, *rest = words
    made: list[str] = []

    def wrap(called: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            made.append(called)
            if called == name and made.count(name) == int(nth):
                if effect == KILLS:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return original(*args, **kwargs)

        return call

    for called, (owner, attribute) in _IN_PYTHON.items():
        setattr(owner, attribute, wrap(called, getattr(owner, attribute)))
    code = find_main(main)(rest)
    Path(trace).write_text("\n".join(made))
    return code
