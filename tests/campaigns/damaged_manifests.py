"""A campaign against the promise that a damaged manifest is never taken for a whole one."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from campaigns.campaign import Arena, Broken, Result, counting
from campaigns.harms import drawn, flip, truncate
from campaigns.specimen import ends, prepare, resume
from nnrun.base.errors import ArtifactError
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.manifest import FOLDER_NAME, MANIFEST_NAME


def damaged_manifests(arena: Arena, count: int) -> Result:
    """Flip a bit of a manifest, or cut it short: it is refused, or means the checkpoints that it meant before."""
    result, draw, specimen = Result("damaged manifests"), arena.draw, cache(lambda: prepare(arena))
    for number in range(count):
        with counting(result, f"{result.name}, {number}"):
            whole = (specimen().killed / FOLDER_NAME / MANIFEST_NAME).read_bytes()
            damaged = drawn((flip, truncate)[number % 2], draw, whole)
            run = Path(shutil.copytree(specimen().killed, arena.folder.resolve() / f"run{number}"))
            (run / FOLDER_NAME / MANIFEST_NAME).write_bytes(damaged)
            try:
                _expect_same(run, "best", specimen().best.name)
                _expect_same(run, "last", specimen().newest.name)
                code, said = resume(arena, run)
                # A best checkpoint that is named as damaged may be replaced by another one.
                if code == 0 and ends(run) != specimen().end and specimen().best.name not in said:
                    raise Broken("different", f"the run ended with {ends(run)}, and not with {specimen().end}")
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
