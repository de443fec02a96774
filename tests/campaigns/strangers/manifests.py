"""Run directories whose manifest, or another file beside the checkpoints, is hostile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaigns.strangers.kind import RESUME, RUNS, TITLE, Bench, Hostile
from campaigns.strangers.values import make_pipe
from nnrun.checkpoints.manifest import FOLDER_NAME


def manifest(change: Callable[[str], str]) -> Hostile:
    """Make a run directory of a whole checkpoint and a hostile manifest."""
    return Hostile(Bench.save, RUNS, forge=lambda path: path.write_text(change(path.read_text())))


def forge_json(**changes: Any) -> Hostile:
    """Make a run directory the manifest of which says other things of its only file."""

    def change(text: str) -> str:
        value = json.loads(text)
        # It vouches for itself only where it says so.
        del value["sha256"]
        value["files"][0] |= changes
        if "name" in changes:
            value["best"] = value["last"] = changes["name"]
        return json.dumps(value)

    return manifest(change)


def beside(name: str, write: Callable[[Path], object]) -> Hostile:
    """Make a run directory of a whole checkpoint and another file that `resume=` reads or writes.

    The training may go on, or be refused: by the machine's word where the file is none.
    """
    return Hostile(Bench.save, (RESUME,), (0, 4, 5), forge=lambda path: write(path.parent.parent / name))


def linked(name: str) -> Hostile:
    """Make a run directory one of whose folders is a link: what is written to it, or removed, is somebody else's."""

    def forge(manifest_path: Path) -> None:
        folder = manifest_path.parent.parent / name
        folder.parent.mkdir(exist_ok=True)
        victim = folder.parent / f"victim-of-{folder.name}"
        if folder.exists():
            folder.rename(victim)
        else:
            victim.mkdir()
        folder.symlink_to(victim)

    return Hostile(Bench.save, (RESUME,), (4,), forge=forge)


def make_folder(path: Path) -> None:
    """Put a folder in the place of a file."""
    path.unlink()
    path.mkdir()


def link_to_canary(path: Path) -> None:
    """Make a link to the canary, which is not there yet: whoever writes through it creates it."""
    path.symlink_to(path.parent.parent / "canary")


MANIFESTS = {
    "an endless manifest": manifest(lambda _: "[" * 100_000),
    "a manifest of nothing": manifest(lambda _: ""),
    "a manifest that is a pipe": Hostile(Bench.save, RUNS, forge=make_pipe),
    "a manifest that is a folder": Hostile(Bench.save, RUNS, forge=make_folder),
    "bytes without end": forge_json(bytes=float("inf")),
    "a name that climbs out": forge_json(name="../../stranger.ckpt"),
    "a name with a zero": forge_json(name="stranger\0.ckpt"),
    "a name of no letters": forge_json(name="\ud800"),
    "a name that is the folder": forge_json(name=".."),
    "a name of a million letters": forge_json(name="x" * 10**6),
    "a name that commands the terminal": forge_json(name=TITLE),
    "an sha256 that is another's": forge_json(sha256="0" * 64),
    "a schema of tomorrow": forge_json(schema=10**9),
    # What would be written goes through the link, to a file of the user's.
    "a lock that is a link": beside(".lock", link_to_canary),
    "a log that is a link": beside("run.log", link_to_canary),
    "rows that are a link": beside("metrics.jsonl", link_to_canary),
    "a status that is a link": beside("status.json", link_to_canary),
    "a lock that is a pipe": beside(".lock", make_pipe),
    "a log that is a pipe": beside("run.log", make_pipe),
    "rows that are a pipe": beside("metrics.jsonl", make_pipe),
    "a status that is a pipe": beside("status.json", make_pipe),
    "a status that is a list": beside("status.json", lambda path: path.write_text("[]")),
    "exports that are a link": linked("exports"),
    "an export that is a link": linked("exports/safetensors"),
    "a folder of a logger that is a link": linked("tensorboard"),
    "checkpoints that are a link": linked(FOLDER_NAME),
    "a name that is the manifest's": forge_json(name="manifest.json"),
    "a status that was resumed from 5": beside("status.json", lambda path: path.write_text('{"resumed": 5}')),
    "a status nested deep": beside("status.json", lambda path: path.write_text('{"a":' * 900 + "1" + "}" * 900)),
    "rows without end": beside("metrics.jsonl", lambda path: path.write_bytes(b"x" * 2**24)),
    "a temporary file that is a folder": beside(".x.tmp", Path.mkdir),
    "a status of much": beside("status.json", lambda path: path.write_text("[" * 100_000)),
    "rows that are no text": beside("metrics.jsonl", lambda path: path.write_bytes(b"\xff\xfe\n" * 100)),
}
