"""Campaigns against the promise that a damaged checkpoint, or manifest, is never taken for a whole one."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nnrun.archive import peek
from nnrun.core.checkpoint import DAMAGED_SUFFIX, load_payload
from nnrun.doctor.campaign import Arena, Broken, Result, counting
from nnrun.errors import ArtifactError
from nnrun.files import write_json
from nnrun.manifest import FOLDER_NAME, MANIFEST_NAME, Manifest, locate, read_manifest

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
PAGE_BYTES = 4096
# A read takes milliseconds, a command a tenth of a second, a resumed training two.
COMMAND_EVERY, RESUME_EVERY = 50, 100

# What happens to the bytes of a file; it may leave them as they were.
Damage = Callable[[random.Random, bytes], bytes]


class Answer(NamedTuple):
    """The exit code of a command, and all that it said, on both streams."""

    code: int
    said: str


def hear(folder: Path, action: Callable[[], int]) -> Answer:
    """Return the exit code that an action in a folder returns, and what it said."""
    # As terminals have it: what cannot be encoded is an error on standard output, and escaped on standard error.
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True) for errors in ("strict", "backslashreplace")
    )
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = action()
    return Answer(code, "".join(stream.buffer.getvalue().decode() for stream in (out, err)))  # type: ignore[attr-defined]


def command(arena: Arena, words: Sequence[str]) -> Answer:
    """Give the program a command, in the arena's folder."""
    return hear(arena.folder, lambda: arena.main(words))


def train(arena: Arena) -> Path:
    """Return a tiny run, trained once in an arena; raise Broken where that fails."""
    run = arena.folder.resolve() / "trained"
    if not run.is_dir():
        code, said = command(arena, [*WORDS, f"hydra.run.dir={run}"])
        if code:
            raise Broken("unexplained", f"the training ended with {code}: {said.strip()}")
    return run


@dataclass(frozen=True)
class Subject:
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


def prepare(arena: Arena) -> Subject:
    """Return the subject of an arena, made once."""
    trained, killed = train(arena), arena.folder.resolve() / "killed"
    if not killed.is_dir():
        shutil.copytree(trained, killed)
        folder = killed / FOLDER_NAME
        whole = read_manifest(folder)
        files = tuple(entry for entry in whole.files if entry.step <= KILLED_AFTER_STEPS)
        assert whole.best in [entry.name for entry in files[:-1]], "the best checkpoint lies before the newest"
        write_json(folder / MANIFEST_NAME, Manifest(files, whole.best, files[-1].name).to_json())
        for entry in whole.files[len(files) :]:
            (folder / entry.name).unlink()
        write_json(killed / "status.json", {"state": "running"})
        (killed / "summary.json").unlink()
    return Subject(trained, killed, locate(killed, "best").path, locate(killed, "last").path)


def ends(run: Path) -> tuple[str | None, str | None]:
    """Return the names of a run's best and last checkpoint."""
    manifest = read_manifest(run / FOLDER_NAME)
    return manifest.best, manifest.last


def flipped_bits(arena: Arena, count: int) -> Result:
    """Flip one bit of a checkpoint, anywhere."""
    return _damaged_checkpoints(arena, count, Result("flipped bits"), _flip)


def truncations(arena: Arena, count: int) -> Result:
    """Cut a checkpoint short, anywhere."""
    return _damaged_checkpoints(arena, count, Result("truncations"), _truncate)


def zeroed_tails(arena: Arena, count: int) -> Result:
    """Zero the end of a checkpoint, of any length: what a disk that lost its last writes leaves."""
    return _damaged_checkpoints(arena, count, Result("zeroed tails"), _zero_tail)


def zeroed_pages(arena: Arena, count: int) -> Result:
    """Zero one page of a checkpoint."""
    return _damaged_checkpoints(arena, count, Result("zeroed pages"), _zero_page)


def _flip(draw: random.Random, content: bytes) -> bytes:
    """Flip one bit."""
    position = draw.randrange(len(content))
    return content[:position] + bytes([content[position] ^ 1 << draw.randrange(8)]) + content[position + 1 :]


def _truncate(draw: random.Random, content: bytes) -> bytes:
    """Keep a part from the start, or nothing."""
    return content[: draw.randrange(len(content))]


def _zero_tail(draw: random.Random, content: bytes) -> bytes:
    """Zero all from somewhere on."""
    position = draw.randrange(len(content))
    return content[:position] + bytes(len(content) - position)


def _zero_page(draw: random.Random, content: bytes) -> bytes:
    """Zero a page, the last one perhaps a short one."""
    start = PAGE_BYTES * draw.randrange(-(-len(content) // PAGE_BYTES))
    zeros = bytes(min(PAGE_BYTES, len(content) - start))
    return content[:start] + zeros + content[start + len(zeros) :]


def _draw(damage: Damage, draw: random.Random, content: bytes) -> bytes:
    """Return the bytes, damaged: drawn again where they were zeros already."""
    while (damaged := damage(draw, content)) == content:
        pass
    return damaged


def _damaged_checkpoints(arena: Arena, count: int, result: Result, damage: Damage) -> Result:
    """Damage a checkpoint `count` times: in its run, whose manifest knows it, and alone, with the digits in its name.

    It must be refused by whoever reads it: `ckpt=` says so and writes nothing, `resume=` falls back to the one before.
    """
    draw, subject = arena.draw, cache(lambda: prepare(arena))
    reading, alone = arena.folder.resolve() / "reading", arena.folder.resolve() / "alone"
    for number in range(count):
        with counting(result, f"{result.name}, {number}"):
            if number == 0:
                shutil.copytree(subject().killed, reading, dirs_exist_ok=True)
                alone.mkdir(exist_ok=True)
            files = [reading / FOLDER_NAME / subject().best.name, alone / subject().best.name]
            damaged = _draw(damage, draw, subject().best.read_bytes())
            for file in files:
                file.write_bytes(damaged)
            for source in (reading, *files):
                _expect_refusal(source, subject().best)
            if number % COMMAND_EVERY == 0:
                for source in (reading, *files):
                    _expect_complaint(arena, source, files, damaged)
            if number % RESUME_EVERY == 0:
                for run in (subject().killed, subject().trained):
                    _expect_fallback(arena, subject(), run, lambda content: _draw(damage, draw, content))
    return result


def _expect_refusal(source: Path, whole: Path) -> None:
    """Read a damaged checkpoint as `ckpt=` does; raise Broken unless it is refused."""
    try:
        path = locate(source, "best").path
        peek(path)
        payload = load_payload(path)
    except ArtifactError:
        return
    except Exception as error:
        raise Broken("unexplained", f"{source.name} is read with {type(error).__name__}: {error}") from error
    if is_same(payload, load_payload(whole)):
        raise Broken("unexplained", f"{source.name} is read although its bytes differ; what it holds is the same")
    raise Broken("different", f"{source.name} is read, and holds something else than what was saved")


def is_same(one: Any, other: Any) -> bool:
    """Return whether two trees of tensors and plain values are equal bit for bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        is_alike = one.dtype == other.dtype and one.shape == other.shape
        return is_alike and torch.equal(*(tensor.reshape(-1).view(torch.uint8) for tensor in (one, other)))
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    return struct.pack("d", one) == struct.pack("d", other) if isinstance(one, float) else one == other


def _expect_complaint(arena: Arena, source: Path, files: Sequence[Path], damaged: bytes) -> None:
    """Name a damaged checkpoint on the command line; raise Broken unless that ends with 4 and leaves all as it was."""
    before = set(arena.folder.rglob("*"))
    code, said = command(arena, [f"ckpt={source}", f"hydra.run.dir={arena.folder.resolve() / 'evaluated'}"])
    if code != ArtifactError.exit_code or "Traceback" in said or files[0].name not in said:
        raise Broken("unexplained", f"ckpt={source.name} ends with {code}: {said.strip()}")
    if any(not file.is_file() or file.read_bytes() != damaged for file in files):
        raise Broken("lost", f"ckpt={source.name} changed the damaged file")
    if written := set(arena.folder.rglob("*")) - before:
        raise Broken("unexplained", f"ckpt={source.name} is refused, and leaves {sorted(map(str, written))}")


def _expect_fallback(arena: Arena, subject: Subject, whole: Path, damage: Callable[[bytes], bytes]) -> None:
    """Resume a run whose newest checkpoint is damaged; raise Broken unless it says so, and ends as it would have."""
    run = arena.folder.resolve() / "resumed"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(whole, run)
    newest = locate(run, "last").path
    newest.write_bytes(damage(newest.read_bytes()))
    code, said = _resume(arena, run)
    if code:
        raise Broken("lost", f"the newest checkpoint is damaged, and resume= ends with {code}: {said.strip()}")
    if newest.name not in said:
        raise Broken("unexplained", f"resume= of a {whole.name} run does not say that {newest.name} is damaged")
    if ends(run) != subject.end:
        raise Broken("different", f"after a fallback the run ended with {ends(run)}, and not with {subject.end}")
    # A run that was finished is left as it is: nothing was trained.
    if whole != subject.trained and locate(run, "last").notes:
        raise Broken("lost", f"resume= of a {whole.name} run ends with 0, and {newest.name} is still damaged")


def _resume(arena: Arena, run: Path) -> Answer:
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


def damaged_manifests(arena: Arena, count: int) -> Result:
    """Flip a bit of a manifest, or cut it short: it is refused, or means the checkpoints that it meant before."""
    result, draw, subject = Result("damaged manifests"), arena.draw, cache(lambda: prepare(arena))
    for number in range(count):
        with counting(result, f"{result.name}, {number}"):
            whole = (subject().killed / FOLDER_NAME / MANIFEST_NAME).read_bytes()
            damaged = _draw((_flip, _truncate)[number % 2], draw, whole)
            run = Path(shutil.copytree(subject().killed, arena.folder.resolve() / f"run{number}"))
            (run / FOLDER_NAME / MANIFEST_NAME).write_bytes(damaged)
            try:
                _expect_same(run, "best", subject().best.name)
                _expect_same(run, "last", subject().newest.name)
                code, said = _resume(arena, run)
                # A best checkpoint that is named as damaged may be replaced by another one.
                if code == 0 and ends(run) != subject().end and subject().best.name not in said:
                    raise Broken("different", f"the run ended with {ends(run)}, and not with {subject().end}")
            except Broken as broken:
                raise Broken(broken.kind, f"{_changes(whole, damaged)}: {broken}") from broken
            shutil.rmtree(run)
    return result


def _expect_same(run: Path, want: str, name: str) -> None:
    """Raise Broken unless a run with a damaged manifest is refused, or stands for the checkpoint that it stood for.

    To go on from an earlier one than the last is allowed, where that is said.
    """
    try:
        located = locate(run, want)
    except ArtifactError:
        return
    except Exception as error:
        raise Broken("unexplained", f"{type(error).__name__}: {error}") from error
    if located.path.name != name and not (want == "last" and located.notes):
        raise Broken("different", f"the {want} checkpoint became {located.path.name}")


def _changes(whole: bytes, damaged: bytes) -> str:
    """Return how a text was damaged, for people."""
    if len(damaged) < len(whole):
        return f"cut to {len(damaged)} bytes"
    position = next(i for i, (one, other) in enumerate(zip(whole, damaged, strict=True)) if one != other)
    around = slice(max(position - 20, 0), position + 20)
    return f"{whole[around]!r} became {damaged[around]!r}"
