"""What is fuzzed, and the judgement of one input: read, refused as promised, or a fault."""

from __future__ import annotations

import atexit
import contextlib
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

from nnrun.base.errors import ArtifactError, NnrunError

# The most seconds of the processor that an input may take, and the most memory: so much, and so often its size.
MAX_SECONDS, LEAST_BYTES, BYTES_PER_BYTE = 2.0, 2**25, 40


class Differs(Exception):
    """Two readers read an input differently."""


@dataclass(frozen=True)
class Target:
    """A reader. `read` takes the bytes of an input and an empty folder, and may raise `refusals` alone.

    `seeds` are good inputs, made by the program; `words` are tokens of the format that a fuzzer tries.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[bytes, Path], object]
    refusals: tuple[type[NnrunError], ...] = (ArtifactError,)
    words: tuple[bytes, ...] = ()

    @cache  # noqa: B019 - the table of targets lives as long as the process
    def first(self) -> tuple[bytes, ...]:
        """Return the seeds, made once."""
        return tuple(self.seeds())


@dataclass(frozen=True)
class Fault:
    """What is wrong with the way in which an input was read: a kind, and the details. `place` tells faults apart."""

    kind: str
    place: str
    said: str

    def line(self) -> str:
        """Return the fault in one line."""
        return f"{self.kind} at {self.place}: {' '.join(self.said.split())[:200]}"


class TooSlow(BaseException):
    """An input takes too long. No Exception: what catches those must not swallow it."""


def judge(target: Target, content: bytes, *, plant: bool = False) -> Fault | None:
    """Have an input read; return what is wrong with that, if anything.

    `plant` plants a fault behind the reader's last check: an input that is accepted though it is no seed counts as one.
    """
    folder = _folder() / "read"
    folder.mkdir()
    fault: Fault | None = None
    before, start = _peak_bytes(), time.process_time()
    try:
        with _limited():
            target.read(content, folder)
        if plant and content not in target.first():
            fault = Fault("planted", target.name, "an input that is no seed was accepted")
    except target.refusals:
        pass  # its messages are cut by themselves
    except MemoryError as error:
        fault = Fault("memory", _place(error), f"MemoryError: {error}")
    except TooSlow as error:
        fault = Fault("slow", _place(error), f"more than {MAX_SECONDS:g} s")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # Rust's panics are no Exception
        fault = Fault(type(error).__name__, _place(error), f"{type(error).__name__}: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds, grown = time.process_time() - start, _peak_bytes() - before
    if fault is None and seconds > MAX_SECONDS:
        fault = Fault("slow", target.name, f"{seconds:.1f} s")
    if fault is None and grown > LEAST_BYTES + BYTES_PER_BYTE * len(content):
        fault = Fault("memory", target.name, f"{grown:,} bytes for an input of {len(content):,}")
    return fault


@cache
def _folder() -> Path:
    """Return a folder in memory, if the system has such, which is removed at the end of the process."""
    held = tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm" if sys.platform == "linux" else None)
    atexit.register(held.cleanup)
    return Path(held.name)


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise TooSlow


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Interrupt the block, if Python itself hangs in it, after its time of the processor."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGPROF, _give_up)
    signal.setitimer(signal.ITIMER_PROF, 2 * MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, earlier)


def _place(error: BaseException) -> str:
    """Return the innermost line of nnrun that an error went through, or else of the targets."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/nnrun/" in frame.filename] or list(frames)
    return f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else "?"


def _peak_bytes() -> int:
    """Return the most memory that this process has ever used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
