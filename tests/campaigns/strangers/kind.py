"""What a hostile file is, and the words that make one: with these, a line in a table adds it."""

from __future__ import annotations

import functools
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from campaigns.strangers.torch_zip import pack

# Where a stranger's file is read: alone, or in a run directory whose manifest states its sha256.
CKPT, INIT_FROM, LOAD, RUN, RESUME = "ckpt=FILE", "init_from=FILE", "nnrun.load", "ckpt=RUN", "resume=RUN"
EVERYWHERE = (CKPT, INIT_FROM, LOAD, RUN, RESUME)
# Some parts of a checkpoint are not read everywhere.
CONFIG, NETWORK, SHOWN, RUNS = (CKPT, RUN, RESUME), (CKPT, RUN, RESUME, LOAD), (CKPT, RUN, LOAD), (RUN, RESUME)
# It would set a terminal's title.
TITLE = "\x1b]0;canary\a"
SECRET_NAME, SECRET = "NNRUN_CANARY", "a-secret-out-of-the-environment"
# Importing this module, or making anything of its class, creates the canary beside it.
MODULE_NAME = "nnrun_canary"
MODULE = """
from pathlib import Path
from torch import nn
sing = (Path(__file__).parent / "canary").touch
sing()
class Canary(nn.Module):
    def __init__(self, *_, **__): sing()
    def __setstate__(self, _): sing()
    def load(self): sing()
"""


@dataclass(frozen=True)
class Bench:
    """Where a hostile file is made: its path, the file that it would create, and a whole checkpoint to start from."""

    path: Path
    canary: Path
    good: dict[str, Any]

    def save(self, **changes: Any) -> None:
        """Write the whole checkpoint with some of its parts changed."""
        torch.save(self.good | changes, self.path)


@dataclass(frozen=True)
class Hostile:
    """How a hostile file is written, where it would be read, and the exit codes that may refuse it.

    `forge` changes the run directory around it, given the path of its manifest; `name` is the file's, where it matters.
    """

    write: Callable[[Bench], object]
    places: Sequence[str] = EVERYWHERE
    codes: tuple[int, ...] = (4,)
    forge: Callable[[Path], object] = lambda _: None
    name: str = "stranger.ckpt"


def part(places: Sequence[str] = EVERYWHERE, codes: Sequence[int] = (4,), **changes: Callable[[Path], Any]) -> Hostile:
    """Make a checkpoint with other parts, made with the canary's path."""
    return Hostile(
        lambda bench: bench.save(**{key: make(bench.canary) for key, make in changes.items()}), places, tuple(codes)
    )


def without(key: str, places: Sequence[str]) -> Hostile:
    """Make a checkpoint that lacks a part."""
    return Hostile(lambda bench: torch.save({k: v for k, v in bench.good.items() if k != key}, bench.path), places)


def config(
    change: Callable[[Path], Mapping[str, Any]], places: Sequence[str] = CONFIG, codes: Sequence[int] = (2, 4)
) -> Hostile:
    """Make a checkpoint with other settings: by key, as `model/hidden`, made with the canary's path."""

    def write(bench: Bench) -> None:
        # No two sections share anything.
        changed = json.loads(json.dumps(bench.good["config"]))
        for key, value in change(bench.canary).items():
            *sections, leaf = key.split("/")
            functools.reduce(dict.__getitem__, sections, changed)[leaf] = value
        bench.save(config=changed)

    return Hostile(write, places, tuple(codes))


def weights(change: Callable[[dict[str, Any]], Any]) -> Hostile:
    """Make a checkpoint with other weights."""
    return Hostile(lambda bench: bench.save(model=change(dict(bench.good["model"]))))


def raw(content: Callable[[Bench], bytes]) -> Hostile:
    """Make a file of any bytes."""
    return Hostile(lambda bench: bench.path.write_bytes(content(bench)))


def packed(entries: Callable[[Bench], Mapping[str, bytes]], compression: int = zipfile.ZIP_STORED) -> Hostile:
    """Make a zip file of any entries."""
    return Hostile(lambda bench: pack(bench.path, entries(bench), compression))
