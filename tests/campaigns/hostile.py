"""A campaign against the promise that a stranger's checkpoint cannot run code.

Each of the files in `strangers/` is harmless where it succeeds: all that it then does is to create one file, the
canary, in the arena.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import torch

import nnrun
from campaigns.campaign import Arena, Broken, Result, counting
from campaigns.specimen import WORDS, hear, prepare
from campaigns.strangers.kind import (
    CKPT,
    EVERYWHERE,
    INIT_FROM,
    LOAD,
    MODULE,
    MODULE_NAME,
    RESUME,
    RUN,
    RUNS,
    SECRET,
    SECRET_NAME,
    TITLE,
    Bench,
    Hostile,
)
from campaigns.strangers.table import FILES
from nnrun.base.errors import BUG, NnrunError
from nnrun.base.files import write_json
from nnrun.checkpoints.manifest import FOLDER_NAME, MANIFEST_NAME, SCHEMA, Manifest, ManifestEntry

# A refusal takes a tenth of a second and no memory to speak of, and its message is of one to a few lines.
MAX_SECONDS, MAX_GROWTH_BYTES, MAX_SAID = 10.0, 2**28, 20_000
WANTS_MEMORY = ("allocate", "out of memory", "MemoryError")


def hostile_files(arena: Arena, count: int) -> Result:
    """Have the files of the table read, in `count` tries at most: each of them once, and then in other places too."""
    result, good = Result("hostile files"), functools.cache(lambda: torch.load(prepare(arena).best, weights_only=True))
    for number, (name, place) in enumerate(itertools.islice(tries(arena.draw), count)):
        folder = arena.folder.resolve() / f"stranger{number}"
        with counting(result, f"{name}, {place}"):
            _try(arena, FILES[name], place, Bench(folder / FILES[name].name, folder / "canary", good()))
    return result


def tries(draw: random.Random) -> Iterator[tuple[str, str]]:
    """Yield every file with every place where it would be read, in any order; each file once before any comes twice.

    Most begin with nnrun.load, where they can: that takes milliseconds, and a command a tenth of a second.
    """
    orders: list[tuple[str, list[str]]] = []
    for name in draw.sample([*FILES], len(FILES)):
        places = draw.sample(FILES[name].places, len(FILES[name].places))
        orders.append((name, sorted(places, key=lambda place: place != LOAD) if len(orders) % 8 else places))
    for turn in range(len(EVERYWHERE)):
        yield from ((name, places[turn]) for name, places in orders if turn < len(places))


def _try(arena: Arena, hostile: Hostile, place: str, bench: Bench) -> None:
    """Write a hostile file and have it read; raise Broken unless it is refused as promised."""
    folder = bench.path.parent
    folder.mkdir()
    (folder / f"{MODULE_NAME}.py").write_text(MODULE)
    hostile.write(bench)
    file = _forge_run(bench.path, hostile) if place in RUNS else bench.path
    before = _content(file)
    with _surroundings(folder), _watch() as excesses:
        code, said = hear(folder, lambda: _read(arena, place, file))
    what = f"it ends with {code}, and says: {said.strip()[-600:] or 'nothing'}"
    if bench.canary.exists():
        raise Broken("ran", f"it made the canary; {what}")
    if SECRET in said or any(SECRET.encode() in _content(path) for path in folder.rglob("*")):
        raise Broken("ran", f"it read the environment; {what}")
    if code not in hostile.codes or "Traceback" in said:
        raise Broken("unexplained", f"{' or '.join(map(str, hostile.codes))} was promised; {what}")
    if _content(file) != before:
        raise Broken("lost", f"the file was changed; {what}")
    if len(said) > MAX_SAID:
        excesses.append(f"a message of {len(said):,} characters")
    if TITLE in said:
        excesses.append("a message that commands the terminal")
    if any(words in said for words in WANTS_MEMORY):
        excesses.append("more memory asked for than there is")
    if excesses:
        raise Broken("unexplained", f"{', '.join(excesses)}; {what}")
    shutil.rmtree(folder)


def _read(arena: Arena, place: str, file: Path) -> int:
    """Have a file, or the run directory that it is in, read; return the exit code that the command line would give."""
    run, new = file.parent.parent, f"hydra.run.dir={Path.cwd() / 'new'}"
    commands = {
        CKPT: [f"ckpt={file}", new],
        INIT_FROM: [*WORDS, f"init_from={file}", new],
        RUN: [f"ckpt={run}", new],
        RESUME: [f"resume={run}"],
    }
    code = 0
    try:
        if place == LOAD:
            nnrun.load(file)
        else:
            code = arena.main(commands[place])
    except NnrunError as error:
        sys.stderr.write(str(error))
        code = error.exit_code
    except TooLong:
        sys.stderr.write(f"nothing within {MAX_SECONDS:g} s")
        code = -signal.SIGALRM
    except Exception:
        traceback.print_exc()
        code = BUG
    return code


def _forge_run(path: Path, hostile: Hostile) -> Path:
    """Put a checkpoint into a run directory whose manifest vouches for it; return where it lies there."""
    content = _content(path)
    sha256, folder = hashlib.sha256(content).hexdigest(), path.parent / "run" / FOLDER_NAME
    folder.mkdir(parents=True)
    entry = ManifestEntry(f"step-00000008-{sha256[:8]}.ckpt", sha256, len(content), 8)
    path.rename(folder / entry.name)
    write_json(folder / MANIFEST_NAME, Manifest((entry,), entry.name, entry.name).to_json(), SCHEMA)
    hostile.forge(folder / MANIFEST_NAME)
    return folder / entry.name


def _content(path: Path) -> bytes:
    """Return the bytes of a file; nothing of what is none, such as a pipe, which would never end."""
    return path.read_bytes() if path.is_file() else b""


class TooLong(BaseException):
    """Something takes too long. No Exception: what catches those must not swallow it."""


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise TooLong


@contextlib.contextmanager
def _watch() -> Iterator[list[str]]:
    """Interrupt the block where it hangs; yield a list of what it uses too much of, filled in at its end."""
    excesses: list[str] = []
    # Signals come to the main thread alone.
    is_heard = threading.current_thread() is threading.main_thread()
    earlier = signal.signal(signal.SIGALRM, _give_up) if is_heard else None
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS if is_heard else 0)
    peak_bytes, begun = _peak_bytes(), time.monotonic()
    try:
        yield excesses
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if is_heard:
            signal.signal(signal.SIGALRM, earlier)
    if time.monotonic() - begun > MAX_SECONDS:
        excesses.append(f"more than {MAX_SECONDS:g} s")
    if _peak_bytes() - peak_bytes > MAX_GROWTH_BYTES:
        excesses.append(f"{_peak_bytes() - peak_bytes:,} bytes of memory")


def _peak_bytes() -> int:
    """Return the most memory that this process has ever used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def _surroundings(folder: Path) -> Iterator[None]:
    """Set a secret in the environment, let modules in a folder be found, and undo what a stranger may change."""
    path, num_threads = list(sys.path), torch.get_num_threads()
    os.environ[SECRET_NAME] = SECRET
    sys.path.append(str(folder))
    try:
        yield
    finally:
        del os.environ[SECRET_NAME]
        sys.path[:] = path
        sys.modules.pop(MODULE_NAME, None)
        torch.set_num_threads(num_threads)
