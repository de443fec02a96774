"""A trained run, and a copy of it as a kill would have left it: what campaigns damage, and forge files from."""

from __future__ import annotations

import contextlib
import io
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from campaigns.campaign import Arena, Broken
from nnrun.base.errors import ArtifactError, InterruptedRun
from nnrun.base.files import write_json
from nnrun.checkpoints.folder import DAMAGED_SUFFIX
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.manifest import FOLDER_NAME, MANIFEST_NAME, SCHEMA, Manifest, read_manifest

# Two epochs, the second of which is cut short and spoils the network, so that the best checkpoint is not the newest.
# Every checkpoint, of 300 kB, is kept. On the CPU: other devices do not promise the same bits.
WORDS = (
    "model=mlp",
    "model.hidden=[32]",
    "data.limit=200",
    "scheduler=step",
    "scheduler.step_size=1",
    "scheduler.gamma=1000",
    "trainer=debug",
    "trainer.device=cpu",
    "trainer.max_steps=10",
    "trainer.checkpoint_every_steps=2",
    "trainer.keep_last=20",
    "trainer.progress=false",
    "export=none",
)
KILLED_AFTER_STEPS = 8
# The exit codes of a run that a signal has ended.
INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


class Answer(NamedTuple):
    """The exit code of a command, and all that it said, on both streams."""

    code: int
    said: str


def hear(folder: Path, action: Callable[[], int]) -> Answer:
    """Return the exit code that an action in a folder returns, and what it said.

    Raises InterruptedRun where that is the code of a run that was interrupted: it was the campaign that was meant.
    """
    # As terminals have it: what cannot be encoded is an error on standard output, and escaped on standard error.
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True) for errors in ("strict", "backslashreplace")
    )
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = action()
    if code in INTERRUPTED:
        raise InterruptedRun(code - 128)
    return Answer(code, "".join(stream.buffer.getvalue().decode() for stream in (out, err)))  # type: ignore[attr-defined]


def command(arena: Arena, words: Sequence[str]) -> Answer:
    """Give the program a command, in the arena's folder."""
    return hear(arena.folder, lambda: arena.main(words))


def train(arena: Arena) -> Path:
    """Return a tiny run, trained once in an arena; raise Broken where that fails."""
    run = arena.shelved("trained")
    if not run.is_dir():
        code, said = command(arena, [*WORDS, f"hydra.run.dir={run}"])
        if code:
            raise Broken("unexplained", f"the training ended with {code}: {said.strip()}")
    return run


@dataclass(frozen=True)
class Specimen:
    """A trained run, and a copy of it as a kill some steps before its end would have left it."""

    trained: Path
    killed: Path
    # Of the killed run: the checkpoints that ckpt= and resume= take.
    best: Path
    newest: Path

    @property
    def end(self) -> tuple[str | None, str | None]:
        """The best and the last checkpoint of the trained run: names state hashes, so equal names are equal bits."""
        return ends(self.trained)


def prepare(arena: Arena) -> Specimen:
    """Return the specimen of an arena, made once."""
    trained, killed = train(arena), arena.shelved("killed")
    if not killed.is_dir():
        shutil.copytree(trained, killed)
        folder = killed / FOLDER_NAME
        whole = read_manifest(folder)
        files = tuple(entry for entry in whole.files if entry.step <= KILLED_AFTER_STEPS)
        assert whole.best in [entry.name for entry in files[:-1]], "the best checkpoint lies before the newest"
        write_json(folder / MANIFEST_NAME, Manifest(files, whole.best, files[-1].name).to_json(), SCHEMA)
        for entry in whole.files[len(files) :]:
            (folder / entry.name).unlink()
        write_json(killed / "status.json", {"state": "running"}, 1)
        (killed / "summary.json").unlink()
    return Specimen(trained, killed, locate(killed, "best").path, locate(killed, "last").path)


def ends(run: Path) -> tuple[str | None, str | None]:
    """Return the names of a run's best and last checkpoint."""
    manifest = read_manifest(run / FOLDER_NAME)
    return manifest.best, manifest.last


def resume(arena: Arena, run: Path) -> Answer:
    """Go on with a run; raise Broken where that starts afresh, or takes away a checkpoint."""
    before = sorted((run / FOLDER_NAME).glob("*.ckpt"))
    first = _written(before[0])
    answer = command(arena, [f"resume={run}"])
    if "Traceback" in answer.said or answer.code not in (0, ArtifactError.exit_code):
        raise Broken("unexplained", f"resume= ends with {answer.code}: {answer.said.strip()}")
    missing = [path.name for path in before if not path.exists() and not _set_aside(path).exists()]
    if missing:
        raise Broken("lost", f"resume= ends with {answer.code}, and took away {', '.join(missing)}")
    # Every checkpoint is kept: the first one is written again only where the training begins again.
    if before[0].exists() and _written(before[0]) != first:
        raise Broken("different", "resume= started afresh")
    return answer


def _written(path: Path) -> tuple[int, int]:
    """Return what tells a file from a later one of the same name."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def _set_aside(path: Path) -> Path:
    """Return where a checkpoint lies that resume= found damaged."""
    return path.with_name(path.name + DAMAGED_SUFFIX)
