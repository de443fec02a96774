"""The campaign against hanging: phases times signals times faults; each try must end in time, and leave nothing.

No process, no temporary file, no status that says `running`, no traceback, and an exit code as promised.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from campaigns.campaign import Arena, Broken, Result, counting, nursery_of
from campaigns.command import Command, Main
from campaigns.disk import SmallDisk, mounting
from campaigns.nursery import Child, Nursery
from campaigns.phases import PHASES, Place
from campaigns.specimen import train
from campaigns.trials import FAULTS, MARK, SIGNALS, Signals, Trial, processes_of
from nnrun.base.files import TEMPORARY_SUFFIX

# From the signal, or from the fault that ends a run.
IN_TIME_SECONDS = 5.0
# A run gets so far in this time, or something is wrong with the campaign.
_BEGINS_AFTER_SECONDS = 120.0
_NUM_CLASSES, _NUM_PER_CLASS = 4, 300
# What ONNX Runtime keeps there, run after run.
_OF_LIBRARIES = (".ses",)
# How a command is started.
_FRESH, _UNHEARD = "NNRUN_TORTURE_FRESH", "NNRUN_TORTURE_UNHEARD"


def command_line(words: Sequence[str]) -> int:
    """Be the command, from its entry to its exit, in the way that the environment says. (A child's main.)"""
    if _UNHEARD in os.environ:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)
    if _FRESH in os.environ:
        os.execv(sys.executable, [sys.executable, "-m", "nnrun", *words])
    # It answers signals for the whole process: who looks at processes does not import it.
    main = importlib.import_module("nnrun.__main__").main
    sys.argv = ["nnrun", *words]
    tempfile.tempdir = None  # the environment says where
    main()
    raise AssertionError("a command exits")


def hangs(arena: Arena, count: int, phases: Sequence[str] = tuple(PHASES), main: Main = command_line) -> Result:
    """Stop commands in each phase by each signal, with each fault: `count` of all these, or all of them (0).

    `main` is what `command_line` is.
    """
    result, draw = Result("stopped in each phase"), arena.draw
    trained = train(arena)
    images = _images(arena)
    combinations = list(itertools.product(phases, SIGNALS, FAULTS))
    draw.shuffle(combinations)
    # Of each phase as many as of the others.
    combinations.sort(key=_nth_of_its_phase(combinations))
    with contextlib.ExitStack() as stack:
        nursery = stack.enter_context(nursery_of(arena))
        small = _small_disk(arena, stack, result) if count == 0 or count > len(phases) else None
        for number, (phase, signals, wanted) in enumerate(combinations[: count or None]):
            on = small if FAULTS[wanted].on_small_disk else None
            fault = wanted if on or not FAULTS[wanted].on_small_disk else "a limit on files"
            folder = (on.folder if on else arena.folder.resolve()) / f"try{number}"
            trial = Trial(phase, signals, fault, Place(folder, images, trained), on, draw)
            with counting(result, trial.name):
                _try(trial, on.nursery if on else nursery, main)
    return result


def _nth_of_its_phase(combinations: Sequence[tuple[str, str, str]]) -> Callable[[tuple[str, str, str]], int]:
    """Return the key by which the first of each phase come first, then the second of each, and so on."""
    counts: dict[str, Iterator[int]] = {phase: itertools.count() for phase in PHASES}
    place = {combination: next(counts[combination[0]]) for combination in combinations}
    return place.__getitem__


def _small_disk(arena: Arena, stack: contextlib.ExitStack, result: Result) -> SmallDisk | None:
    """Return a disk that can be filled, or None, with a note, where there is none."""
    folder = arena.folder.resolve() / "small"
    folder.mkdir()
    try:
        return SmallDisk(stack.enter_context(Nursery(mounting(folder))), folder)
    except (ChildProcessError, FileNotFoundError) as error:
        result.notes.append(f"no small disk could be mounted: {error}")
        return None


def _images(arena: Arena) -> Path:
    """Return a folder of so many small images that processes decode them; made once."""
    from PIL import Image  # noqa: PLC0415 - this campaign alone makes images

    root = arena.shelved("images")
    draw = random.Random(0)
    for number in range(_NUM_CLASSES if not root.exists() else 0):
        folder = root / f"class{number}"
        folder.mkdir(parents=True)
        for index in range(_NUM_PER_CLASS):
            image = Image.frombytes("L", (12, 12), bytes(draw.randrange(256) for _ in range(144)))
            image.save(folder / f"{index:03}.png")
    return root


def _try(trial: Trial, nursery: Nursery, main: Main) -> None:
    """Try it; raise Broken where anything is not as promised."""
    phase, fault = PHASES[trial.phase], FAULTS[trial.fault]
    seen = replace(trial.place, folder=nursery.seen(trial.place.folder))
    if trial.small is not None:
        trial.small.make_room()
    for folder in (seen.cache, seen.temporary):
        folder.mkdir(parents=True)
    if fault.has_own_images:
        own = trial.place.folder / "images"
        shutil.copytree(trial.place.images, own, copy_function=os.link)
        trial = replace(trial, place=replace(trial.place, images=own))
    mark = f"{os.getpid()}-{trial.place.folder.name}"
    environment = {"NNRUN_CACHE": str(trial.place.cache), "TMPDIR": str(trial.place.temporary), MARK: mark}
    environment |= {_FRESH: ""} if phase.is_fresh else {}
    environment |= {_UNHEARD: ""} if fault.is_unheard else {}
    words = phase.words(trial.place)
    child = nursery.start(Command(main, trial.place.folder, words, environment=environment))
    seen = replace(seen, pid=child.pid)
    try:
        _wait(lambda: not child.is_alive() or phase.has_begun(seen), _BEGINS_AFTER_SECONDS)
        time.sleep(trial.draw.uniform(0, phase.spread_seconds))
        fault.strike(trial, child)
        _send(SIGNALS[trial.signals], child)
        if not _wait(lambda: not child.is_alive(), IN_TIME_SECONDS):
            raise Broken("unexplained", f"still there after {IN_TIME_SECONDS:.0f} s: {_what(child, mark)}")
        code = child.wait()
        if trial.small is not None:
            trial.small.make_room()
        _check(trial, seen, child, code)
        if not _wait(lambda: not processes_of(child.pid, mark), IN_TIME_SECONDS):
            raise Broken("unexplained", f"exit code {code}, and processes are left: {_what(child, mark)}")
    finally:
        child.kill()
        child.wait()
        for pid in processes_of(child.pid, mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(seen.folder, ignore_errors=True)


def _wait(is_so: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is so; return whether it is, in that time."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _send(signals: Signals, child: Child) -> None:
    for number in signals.numbers:
        child.send(number, to_all=signals.to_all)
        time.sleep(0.02)


def _check(trial: Trial, seen: Place, child: Child, code: int) -> None:
    """Raise Broken where a command ended otherwise than promised, or left something."""
    signals, fault = SIGNALS[trial.signals], FAULTS[trial.fault]
    said = child.stderr.strip()[-600:]
    if code not in (0, signals.code, *fault.codes):
        raise Broken("unexplained", f"exit code {code}; stderr: {said}")
    if code == -signal.SIGKILL:
        return  # nobody can tidy up then
    strange = [line for line in child.stderr.splitlines() if not line.startswith("nnrun: ")]
    if strange or (code == 0 and said):
        raise Broken("unexplained", f"exit code {code}; stderr: {said}")
    for status in seen.folder.rglob("status.json"):
        state = json.loads(status.read_text())["state"]
        if state == "running":
            raise Broken("unexplained", f"exit code {code}, and {status.parent.name}/status.json says {state}: {said}")
    elsewhere = [path for path in seen.temporary.iterdir() if path.name not in _OF_LIBRARIES]
    left = [path.name for path in (*seen.folder.rglob(f".*{TEMPORARY_SUFFIX}"), *elsewhere)]
    if left:
        raise Broken("unexplained", f"exit code {code}, and temporary files are left: {', '.join(left)}")


def _what(child: Child, mark: str) -> str:
    """Return the processes of a try, and what they wait for."""
    lines = []
    for pid in sorted(processes_of(child.pid, mark)):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            waits = Path(f"/proc/{pid}/wchan").read_text()
            lines.append(f"{pid} (of {stat[1]}, {stat[0]}, {waits})")
    return ", ".join(lines) or "none"
