"""Examine one run directory: compare every hash that is recorded, and read what has none. Needs no torch."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from nnrun.base.errors import ArtifactError, ConfigError
from nnrun.base.files import read_json, sha256_of
from nnrun.base.visible import few
from nnrun.checkpoints.locate import Located
from nnrun.checkpoints.manifest import ADVICE, FOLDER_NAME, MANIFEST_NAME, ManifestEntry, open_verified, read_manifest
from nnrun.checkpoints.read import SAFETENSORS_SUFFIX, read_saved
from nnrun.config.task import task_called
from nnrun.config.yaml_files import read_saved_sections
from nnrun.runs.seal import EXPORTS_NAME, KEY, sealed_files
from nnrun.tasks.comparison.found import STATUS_NAME
from nnrun.tasks.comparison.read_run import FINISHED, RUNNING, state_in
from nnrun.tasks.table import collect_tasks

SUMMARY_NAME, VERIFICATION_NAME = "summary.json", "verification.json"


@dataclass(frozen=True)
class Fault:
    """What is wrong with a file or folder, which is named relative to its run directory."""

    file: str
    what: str


@dataclass
class Examined:
    """What was found in a run directory, or in a file."""

    path: Path
    state: str
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # What of it can be used: commands, and the names of folders; each with a remark, or an empty text.
    works: list[tuple[str, str]] = field(default_factory=list)
    num_files: int = 0
    num_bytes: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "path": str(self.path),
            "state": self.state,
            "ok": self.is_whole,
            "files": self.num_files,
            "bytes": self.num_bytes,
            "faults": [vars(fault) for fault in self.faults],
            "notes": self.notes,
            "works": [name for name, _ in self.works],
        }

    def blame(self, file: str, what: object) -> None:
        """Record what is wrong with a file, or with `.`; its path, with which messages begin, is left out."""
        self.faults.append(Fault(file, str(what).removeprefix(f"{self.path / file} ")))

    def offer(self, key: str, path: Path, remark: str = "") -> None:
        """Record a command that still works, as one types it."""
        self.works.append((f"nnrun {shlex.quote(f'{key}={path}')}", remark))

    def count(self, path: Path) -> None:
        """Count a file that was read."""
        self.num_bytes += path.stat().st_size
        self.num_files += 1


def examine(run: Path) -> Examined:
    """Return what is found in a run directory; whatever is in it, there is no error.

    A run under way may replace its files at any time: of it, only the checkpoints are examined.
    """
    found = Examined(run, "")
    status = _read(found, STATUS_NAME)
    problems: list[str] = []
    found.state, _ = state_in(run, status, problems)
    found.notes += problems if status is not None else []
    if found.state == RUNNING:
        found.notes.append("it is running: only its checkpoints were read")
        _checkpoints(found, status or {})
        return found
    seal = (status or {}).get(KEY)
    if isinstance(seal, Mapping):
        _compare(found, seal)
    else:
        _read_records(found, status or {})
    _checkpoints(found, status or {})
    _exports(found)
    if (run / SUMMARY_NAME).is_file() and all(fault.file != SUMMARY_NAME for fault in found.faults):
        found.works.append((SUMMARY_NAME, "its results"))
    return found


def _read(found: Examined, name: str) -> dict[str, Any] | None:
    """Return the mapping in a JSON file of a run; None, with the fault recorded, if there is none."""
    path = found.path / name
    try:
        value = read_json(path)
        found.count(path)
    except FileNotFoundError:
        found.blame(name, "is missing")
    except (OSError, ValueError) as error:
        found.blame(name, f"cannot be read: {getattr(error, 'strerror', None) or error}")
    else:
        if isinstance(value, dict):
            return value
        found.blame(name, "is not a mapping")
    return None


def _compare(found: Examined, seal: Mapping[str, Any]) -> None:
    """Compare the files of a run with the hashes that it recorded at its end."""
    for name, stated in seal.items():
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute() or not isinstance(stated, str):
            found.blame(STATUS_NAME, f"names a file that is not in the run directory: {ascii(name)[:80]}")
            continue
        path = found.path.joinpath(*parts)
        try:
            found.count(path)
            if sha256_of(path) != stated:
                found.blame(name, "is not what the run wrote: its sha256 differs")
        except (FileNotFoundError, NotADirectoryError):
            found.blame(name, "is missing")
        except (OSError, ValueError) as error:
            found.blame(name, f"cannot be read: {getattr(error, 'strerror', None) or error}")


def _read_records(found: Examined, status: Mapping[str, Any]) -> None:
    """Read the records of a run that recorded no hashes: it was killed, or an earlier version of nnrun wrote it."""
    for path in sealed_files(found.path):
        name = path.relative_to(found.path).as_posix()
        try:
            if path.suffix == ".json":
                _read(found, name)
                continue
            found.count(path)
            if path.name == "config.yaml":
                read_saved_sections(path)
            elif path.suffix == SAFETENSORS_SUFFIX:
                read_saved(Located(open_verified(path), found.path))
            else:
                sha256_of(path)  # whether the disk can read it
        except (ArtifactError, ConfigError) as error:
            found.blame(name, error)
        except OSError as error:
            found.blame(name, f"cannot be read: {error.strerror}")
    if status.get("state") == FINISHED and not (found.path / SUMMARY_NAME).exists():
        found.blame(SUMMARY_NAME, "is missing")
    if found.num_files > 1:  # besides its status
        found.notes.append("it recorded no hashes of its records, which were only read")


def _checkpoints(found: Examined, status: Mapping[str, Any]) -> None:
    """Compare each checkpoint with its hash, and read it as it is read to be used."""
    folder = found.path / FOLDER_NAME
    if not folder.is_dir():
        task = task_called(status.get("task"), collect_tasks())
        if task is not None and task.trains and found.state == FINISHED:
            found.blame(FOLDER_NAME, "is missing")
        return
    try:
        manifest = read_manifest(folder)
        found.count(folder / MANIFEST_NAME)
    except ArtifactError as error:
        _without_manifest(found, folder, error)
        return
    whole = [entry for entry in manifest.files if _is_readable(found, folder / entry.name, entry)]
    best = manifest.best or manifest.last
    if any(entry.name == best for entry in whole):
        found.offer("ckpt", found.path)
    else:
        for entry in reversed(whole):
            found.offer("ckpt", folder / entry.name, f"another model: step {entry.step:,}")
    if whole:
        found.offer("resume", found.path, f"from step {whole[-1].step:,}")
    listed = {entry.name for entry in manifest.files}
    if others := [path.name for path in sorted(folder.glob("*.ckpt*")) if path.name not in listed]:
        found.notes.append(f"{FOLDER_NAME} also holds what its manifest does not list: {few(others)}")


def _without_manifest(found: Examined, folder: Path, error: ArtifactError) -> None:
    """Compare each checkpoint with the digits in its name: the manifest cannot be read, or is missing."""
    files = sorted(folder.glob("step-*.ckpt"), reverse=True)
    if files or found.state == FINISHED or (folder / MANIFEST_NAME).exists():
        found.blame(f"{FOLDER_NAME}/{MANIFEST_NAME}", str(error).partition(f"; {ADVICE}")[0])
    for path in files:
        if _is_readable(found, path, None):
            found.offer("ckpt", path, "perhaps not the best")


def _is_readable(found: Examined, path: Path, entry: ManifestEntry | None) -> bool:
    """Return whether a checkpoint is as it was saved, and its content one that nnrun uses."""
    name = f"{FOLDER_NAME}/{path.name}"
    try:
        file = open_verified(path, entry)
    except ArtifactError as error:
        if found.state == RUNNING and not path.exists():
            return False  # a newer one has replaced it
        found.blame(name, error)
        return False
    found.num_files += 1
    found.num_bytes += file.num_bytes  # of the open file: one under way may replace it
    try:
        read_saved(Located(file, found.path))
    except ArtifactError as error:
        found.blame(name, error)
        return False
    finally:
        file.close()
    return True


def _exports(found: Examined) -> None:
    """Say which of the exported artifacts can be used; of one without a hash, compare the size."""
    bad = {fault.file for fault in found.faults}
    for folder in sorted((found.path / EXPORTS_NAME).glob("[!.]*")):
        name = folder.relative_to(found.path).as_posix()
        if not folder.is_dir() or any(file.startswith(f"{name}/") for file in bad):
            continue
        try:
            is_proven = read_json(folder / VERIFICATION_NAME)["ok"] is True
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
            found.blame(f"{name}/{VERIFICATION_NAME}", reason)
            continue
        if is_proven:
            found.works.append((name, "proven when it was exported"))
        else:
            found.notes.append(f"{name} failed its verification when it was exported; it is as it was then")
