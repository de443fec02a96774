"""Campaigns against the promise that a run which is killed or stopped at any moment goes on to the same bits.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.doctor.campaign import Arena, Broken, Main, Result, counting
from nnrun.doctor.nursery import Child, Command, Nursery, nursery_of
from nnrun.errors import ArtifactError
from nnrun.files import TEMPORARY_SUFFIX
from nnrun.manifest import FOLDER_NAME, MANIFEST_NAME, is_whole, read_manifest

# 160 training samples in 6 batches, 40 for validation in 3, dropout; a checkpoint of 160 kB after each of 36 steps. On
# the CPU: other devices do not promise the same bits.
WORDS = (
    "model=mlp",
    "model.hidden=[16]",
    "data.limit=200",
    "data.val_fraction=0.2",
    "data.batch_size=30",
    "data.eval_batch_size=16",
    "trainer.device=cpu",
    "trainer.epochs=6",
    "trainer.checkpoint_every_steps=1",
    "trainer.log_every_steps=1",
    "trainer.progress=false",
    "export=none",
)
# What a training's future may depend on, each by itself and some together: a new feature joins with a line. A short
# form tries the first ones.
VARIANTS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "many at once": (
        *("trainer.accumulate=2", "trainer.ema_decay=0.9", "trainer.grad_clip_norm=0.5", "trainer.precision=bf16"),
        *("scheduler=onecycle", "optimizer=adamw"),
    ),
    "stream": ("data.residency=stream", "data.num_workers=2"),
    "cnn": ("model=cnn", "model.channels=[4,4]", "model.hidden=16", "model.dropout=0.5"),
    "early stopping": ("optimizer=sgd", "optimizer.lr=1e-30", "early_stopping.patience=4", "trainer.epochs=9"),
    "accumulate": ("trainer.accumulate=2",),
    "ema": ("trainer.ema_decay=0.9",),
    "clip": ("trainer.grad_clip_norm=0.5",),
    "bf16": ("trainer.precision=bf16",),
    "max_steps": ("trainer.max_steps=33",),
    "memory": ("data.residency=memory",),
    "muon": ("optimizer=muon",),
    "sgd": ("optimizer=sgd", "optimizer.momentum=0.9"),
    "cosine": ("scheduler=cosine",),
    "exponential": ("scheduler=exponential", "scheduler.gamma=0.5"),
    "multistep": ("scheduler=multistep",),
    "onecycle": ("scheduler=onecycle",),
    "plateau": ("scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.5"),
    "step": ("scheduler=step", "scheduler.step_size=1"),
    "warmup_cosine": ("scheduler=warmup_cosine", "scheduler.warmup_fraction=0.5"),
}


def expect(child: Child, *codes: int) -> int:
    """Wait for a child and return its exit code; raise Broken unless it is one of `codes`, without a traceback."""
    code = child.wait()
    if code not in codes or "Traceback" in child.stderr:
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
    run = arena.folder / f"{name.replace(' ', '_')}-whole"
    subject = Subject(arena.main, nursery, (*WORDS, *VARIANTS[name], *words), run)
    begun = time.monotonic()
    child = subject.start(run)
    wait_until_running(child, run)
    running = time.monotonic()
    expect(child, 0)
    ended = time.monotonic()
    return Subject(arena.main, nursery, subject.words, run, ended - begun, ended - running)


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


def _state(run: Path) -> str:
    """Return the state that status.json gives, or nothing where there is none yet."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads((run / "status.json").read_text())["state"])
    return ""


def wait_until_running(child: Child, run: Path) -> None:
    """Wait until status.json says that the run is under way: from then on, signals are nnrun's to answer."""
    while child.is_alive() and _state(run) != "running":
        time.sleep(0.001)


def random_kills(arena: Arena, count: int) -> Result:
    """Kill runs at random moments, their start included, sometimes their resumption too, and let them go on."""
    return disturb_each(arena, count, Result("killed at random moments"), _kill)


def _kill(subject: Subject, run: Path, draw: random.Random, _number: int) -> None:
    """Kill a run and, once in three times, its resumption too, and again; then finish it."""
    child = subject.start(run)
    while True:
        time.sleep(draw.uniform(0, subject.seconds))
        child.send(signal.SIGKILL)
        expect(child, 0, -signal.SIGKILL)
        if not is_committed(run) or draw.random() < 2 / 3:
            break
        check_files(run)
        child = subject.resume(run)
    subject.finish(run)


def signals(arena: Arena, count: int) -> Result:
    """Send SIGTERM and SIGINT at random moments, to the run alone or to its workers too, and let the runs go on."""
    return disturb_each(arena, count, Result("stopped by signals"), _stop)


def _stop(subject: Subject, run: Path, draw: random.Random, _number: int) -> None:
    """Stop a run by a signal, and finish it."""
    sent = draw.choice([signal.SIGTERM, signal.SIGINT])
    child = subject.start(run)
    wait_until_running(child, run)
    time.sleep(draw.uniform(0, subject.running_seconds))
    child.send(sent, to_all=draw.random() < 0.5)
    num_rows = _num_rows(run)
    # Once the run has said that it is finished, the signal may find Python's own handlers again.
    code = expect(child, 0, 128 + sent, -sent)
    state = _state(run)
    if code == 0 and _num_rows(run) > num_rows + 1:
        # Asked for between steps: only the last row of all, the test's, may come after the last time of asking.
        raise Broken("unexplained", f"{sent.name} was not heard: {_num_rows(run) - num_rows} rows came after it")
    if state != "finished" and (state, code) != ("interrupted", 128 + sent):
        raise Broken("unexplained", f"{sent.name}: exit code {code}, and status.json says {state!r}")
    subject.finish(run)


def _num_rows(run: Path) -> int:
    """Return how many rows of metrics a run has written."""
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


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
