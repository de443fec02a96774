"""Campaigns against the promise that a damaged checkpoint is never taken for a whole one."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from campaigns.campaign import Arena, Broken, Result, counting
from campaigns.harms import Damage, drawn, flip, truncate, zero_page, zero_tail
from campaigns.specimen import Specimen, command, ends, prepare, resume
from nnrun.base.errors import ArtifactError
from nnrun.base.open_file import OpenFile
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.manifest import FOLDER_NAME
from nnrun.checkpoints.read import read_pickle, read_run
from nnrun.checkpoints.tensors import read_tensors

# A read takes milliseconds, a command a tenth of a second, a resumed training two.
COMMAND_EVERY, RESUME_EVERY = 50, 100


def flipped_bits(arena: Arena, count: int) -> Result:
    """Flip one bit of a checkpoint, anywhere."""
    return _damaged_checkpoints(arena, count, Result("flipped bits"), flip)


def truncations(arena: Arena, count: int) -> Result:
    """Cut a checkpoint short, anywhere."""
    return _damaged_checkpoints(arena, count, Result("truncations"), truncate)


def zeroed_tails(arena: Arena, count: int) -> Result:
    """Zero the end of a checkpoint, of any length: what a disk that lost its last writes leaves."""
    return _damaged_checkpoints(arena, count, Result("zeroed tails"), zero_tail)


def zeroed_pages(arena: Arena, count: int) -> Result:
    """Zero one page of a checkpoint."""
    return _damaged_checkpoints(arena, count, Result("zeroed pages"), zero_page)


def _damaged_checkpoints(arena: Arena, count: int, result: Result, damage: Damage) -> Result:
    """Damage a checkpoint `count` times: in its run, whose manifest knows it, and alone, with the digits in its name.

    It must be refused by whoever reads it: `ckpt=` says so and writes nothing, `resume=` falls back to the one before.
    """
    draw, specimen = arena.draw, cache(lambda: prepare(arena))
    reading, alone = arena.folder.resolve() / "reading", arena.folder.resolve() / "alone"
    for number in range(count):
        with counting(result, f"{result.name}, {number}"):
            if number == 0:
                shutil.copytree(specimen().killed, reading, dirs_exist_ok=True)
                alone.mkdir(exist_ok=True)
            files = [reading / FOLDER_NAME / specimen().best.name, alone / specimen().best.name]
            damaged = drawn(damage, draw, specimen().best.read_bytes())
            for file in files:
                file.write_bytes(damaged)
            for source in (reading, *files):
                _expect_refusal(source, specimen().best)
            if number % COMMAND_EVERY == 0:
                for source in (reading, *files):
                    _expect_complaint(arena, source, files, damaged)
            if number % RESUME_EVERY == 0:
                for run in (specimen().killed, specimen().trained):
                    _expect_fallback(arena, specimen(), run, lambda content: drawn(damage, draw, content))
    return result


def _expect_refusal(source: Path, whole: Path) -> None:
    """Read a damaged checkpoint as `ckpt=` does; raise Broken unless it is refused."""
    try:
        located = locate(source, "best")
        read_run(located)
        payload = _all_of(located.file)
    except ArtifactError:
        return
    except Exception as error:
        raise Broken("unexplained", f"{source.name} is read with {type(error).__name__}: {error}") from error
    if is_same(payload, _all_of(OpenFile(whole))):
        raise Broken("unexplained", f"{source.name} is read although its bytes differ; what it holds is the same")
    raise Broken("different", f"{source.name} is read, and holds something else than what was saved")


def _all_of(file: OpenFile) -> Any:
    """Return all that a checkpoint holds."""
    return read_tensors(file, read_pickle(file))


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


def _expect_fallback(arena: Arena, specimen: Specimen, whole: Path, damage: Callable[[bytes], bytes]) -> None:
    """Resume a run whose newest checkpoint is damaged; raise Broken unless it says so, and ends as it would have."""
    run = arena.folder.resolve() / "resumed"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(whole, run)
    newest = locate(run, "last").path
    newest.write_bytes(damage(newest.read_bytes()))
    code, said = resume(arena, run)
    if code:
        raise Broken("lost", f"the newest checkpoint is damaged, and resume= ends with {code}: {said.strip()}")
    if newest.name not in said:
        raise Broken("unexplained", f"resume= of a {whole.name} run does not say that {newest.name} is damaged")
    if ends(run) != specimen.end:
        raise Broken("different", f"after a fallback the run ended with {ends(run)}, and not with {specimen.end}")
    # A run that was finished is left as it is: nothing was trained.
    if whole != specimen.trained and locate(run, "last").notes:
        raise Broken("lost", f"resume= of a {whole.name} run ends with 0, and {newest.name} is still damaged")
