"""A tiny training, what it comes to when nobody disturbs it, and whether a disturbed one comes to the same.

Checkpoints carry the sha256 of all that a training's future depends on in their names, so equal names are equal bits.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from campaigns.campaign import Arena, Broken, Result, counting, nursery_of
from campaigns.command import Command, Main, name_of
from campaigns.nursery import Child, Nursery
from campaigns.variants import VARIANTS, WORDS
from nnrun.base.errors import ArtifactError, ResourceError
from nnrun.base.files import TEMPORARY_SUFFIX
from nnrun.checkpoints.manifest import FOLDER_NAME, MANIFEST_NAME, is_whole, read_manifest
from nnrun.runs.directory import plain_name


def expect(child: Child, *codes: int) -> int:
    """Wait for a child and return its exit code; raise Broken unless it is one of `codes`, without a traceback.

    Of one that was killed, processes that read data ahead may say that it is gone.
    """
    code = child.wait()
    if code not in codes or (code != -signal.SIGKILL and "Traceback" in child.stderr):
        said = child.stderr.strip()[-600:] or "nothing"
        raise Broken("unexplained", f"exit code {code} where {codes} can be; stderr: {said}")
    return code


@dataclass(frozen=True)
class Subject:
    """A tiny training, and what it comes to when nobody disturbs it. `running_seconds` is without the start."""

    main: Main
    nursery: Nursery
    words: tuple[str, ...]
    whole: Path
    seconds: float = 0.0
    running_seconds: float = 0.0

    def start(self, run: Path, **how: Any) -> Child:
        """Start the training in a directory; `how` are fields of Command."""
        return self.nursery.start(Command(self.main, run.parent, (*self.words, f"hydra.run.dir={run}"), **how))

    def resume(self, run: Path, **how: Any) -> Child:
        """Go on with a run."""
        return self.nursery.start(Command(self.main, run.parent, (f"resume={run}",), **how))

    def finish(self, run: Path) -> None:
        """Go on with a run to its end and compare it with the whole one, and remove it; raise Broken.

        One that was lost before its first checkpoint must say so when it is resumed; it is then started afresh.
        """
        seen = self.nursery.seen(run)
        if is_committed(seen):
            check_files(seen)
            child = self.resume(run)
            if child.wait() == ArtifactError.exit_code:
                raise Broken("lost", f"a checkpoint was committed, and resume says: {child.stderr.strip()}")
            expect(child, 0)
        else:
            expect(self.resume(run), ArtifactError.exit_code)
            shutil.rmtree(seen, ignore_errors=True)
            expect(self.start(run), 0)
        compare(seen, self.whole)
        shutil.rmtree(seen)


def undisturbed(arena: Arena, nursery: Nursery, name: str = "plain", *words: str) -> Subject:
    """Return the subject of a variant, its training done once from the start to the end."""
    run = arena.shelved(plain_name(name_of(arena.main))) / plain_name("-".join([name, *words]))
    subject = Subject(arena.main, nursery, (*WORDS, *VARIANTS[name], *words), run)
    clock = run.with_name(f"{run.name}.json")
    if not clock.exists():
        run.parent.mkdir(exist_ok=True)
        begun = time.monotonic()
        child = subject.start(run)
        wait_until_running(child, run)
        running = time.monotonic()
        expect(child, 0)
        ended = time.monotonic()
        clock.write_text(json.dumps({"seconds": ended - begun, "running_seconds": ended - running}))
    return replace(subject, **json.loads(clock.read_text()))


def is_committed(run: Path) -> bool:
    """Return whether a run has ever committed a checkpoint."""
    return (run / FOLDER_NAME / MANIFEST_NAME).exists()


def check_files(run: Path) -> None:
    """Raise Broken unless the manifest can be read and every file that it names is whole."""
    try:
        manifest = read_manifest(run / FOLDER_NAME)
    except ArtifactError as error:
        raise Broken("lost", str(error)) from error
    damaged = [entry.name for entry in manifest.files if not is_whole(run / FOLDER_NAME, entry)]
    if damaged:
        raise Broken("lost", f"the manifest names {', '.join(damaged)}: missing or damaged")


def compare(run: Path, whole: Path) -> None:
    """Raise Broken unless two runs ended with the same bits, and nothing temporary is left."""
    ours, theirs = _results(run), _results(whole)
    differing = [name for name in theirs if ours[name] != theirs[name]]
    if differing:
        raise Broken("different", f"{run.name} ended with other {', '.join(differing)}")
    leftovers = [str(path.relative_to(run)) for path in run.rglob(f".*{TEMPORARY_SUFFIX}")]
    if leftovers:
        raise Broken("unexplained", f"temporary files are left: {', '.join(leftovers)}")


def _results(run: Path) -> dict[str, Any]:
    """Return what must be the same in two runs of one config."""
    try:
        manifest = read_manifest(run / FOLDER_NAME)
        summary = json.loads((run / "summary.json").read_text())
        rows = (run / "metrics.jsonl").read_bytes()
    except (ArtifactError, OSError, ValueError) as error:
        raise Broken("lost", f"{run.name} has ended, and its results cannot be read: {error}") from error
    return {
        "metrics.jsonl": rows,
        "best and last": (manifest.best, manifest.last),
        "summary.json": (summary["metrics"], summary["best"]),
    }


def state_of(run: Path) -> str:
    """Return the state that status.json gives, or nothing where there is none yet."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads((run / "status.json").read_text())["state"])
    return ""


def wait_until_running(child: Child, run: Path) -> None:
    """Wait until status.json says that the run is under way: from then on, signals are nnrun's to answer."""
    while child.is_alive() and state_of(run) != "running":
        time.sleep(0.001)


# What happens to a run in its directory; the number of the trial may choose among several kinds.
Disturbance = Callable[[Subject, Path, random.Random, int], None]


def disturb_each(
    arena: Arena, count: int, result: Result, disturb: Disturbance, names: Iterable[str] = VARIANTS
) -> Result:
    """Disturb `count` runs, the variants by turns."""
    draw, subjects = arena.draw, dict[str, Subject]()
    with nursery_of(arena) as nursery:
        for number, name in zip(range(count), itertools.cycle(names), strict=False):
            with counting(result, f"{name}, {number}"):
                if name not in subjects:
                    subjects[name] = undisturbed(arena, nursery, name)
                disturb(subjects[name], arena.folder / f"run{number}", draw, number)
    return result


def expect_refusal(subject: Subject, run: Path, child: Child, cause: str) -> int:
    """Wait for a run that the disk refuses something; return its exit code, 0 where it had all it needed before.

    Raises Broken where it does not name the cause, or says that it ended well and did not.
    """
    code = expect(child, 0, ResourceError.exit_code)
    if code and cause not in child.stderr:
        raise Broken("unexplained", f"stderr does not say {cause!r}: {child.stderr.strip()}")
    if not code:
        compare(subject.nursery.seen(run), subject.whole)
    return code
