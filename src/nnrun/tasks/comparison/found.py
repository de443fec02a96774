"""Find the run directories that `runs=` names: a directory that is searched, a run, a pattern, or a list of these."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nnrun.base.errors import ArtifactError
from nnrun.base.paths import abbreviated, expanded, is_there, why_out_of_reach
from nnrun.base.shown import counted
from nnrun.checkpoints.locate import nearest
from nnrun.checkpoints.manifest import FOLDER_NAME, MANIFEST_NAME

STATUS_NAME = "status.json"
# What a directory without a status.json has if it was a run: it is listed, as damaged.
_TRACES = ("summary.json", "metrics.jsonl", f"{FOLDER_NAME}/{MANIFEST_NAME}")
_PATTERN = frozenset("*?[")
# Limits on a search: a home folder given by mistake should not be read for minutes.
_MOST_FOLDERS, _MOST_DEPTH = 50_000, 12


@dataclass(frozen=True)
class FoundRun:
    """A run directory, as it is shown. `is_named`: the path itself, or its pattern, was given."""

    path: Path
    is_named: bool
    # Whether the path, as given, leads there through a link.
    is_link: bool = False


@dataclass
class Found:
    """The run directories found, each once, and notes on the search."""

    runs: list[FoundRun] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_runs(text: str, key: str = "runs") -> Found:
    """Return the run directories that the value of a setting names.

    A directory is searched for runs, without following links in it. Raises ArtifactError for a path that does not
    exist, and if there is no run.
    """
    found, seen = Found(), set[str]()
    for item in items_of(text):
        for path, is_pattern in _expanded(item, key):
            for run in _runs_at(path, is_pattern, key, found.notes):
                real = os.path.realpath(run.path)
                if real not in seen:
                    seen.add(real)
                    found.runs.append(run)
    if not found.runs:
        raise ArtifactError(f"{key}={abbreviated(text)} holds no run: no directory there has a {STATUS_NAME}")
    return found


def items_of(text: str) -> list[str]:
    """Return the paths and patterns in the value of `runs=`: one, or several as `[a,b]`.

    A path that exists is taken as it is. In a list, a comma belongs to a path if only the joined parts exist, and
    quotes keep a path together.
    """
    if is_there(expanded(text)) or not (text.startswith("[") and text.endswith("]")):
        return [text]
    items: list[str] = []
    parts = list(_split(text[1:-1]))
    while parts:
        lengths = range(len(parts), 1, -1)
        whole = next((size for size in lengths if is_there(expanded(",".join(parts[:size]).strip()))), 1)
        is_joined = whole > 1 and not all(is_there(expanded(part.strip())) for part in parts[:whole])
        taken = parts[: whole if is_joined else 1]
        items.append(_unquoted(",".join(taken).strip()))
        parts = parts[len(taken) :]
    return [item for item in items if item]


def _split(text: str) -> Iterator[str]:
    """Yield the parts of a list between commas that are not in quotes."""
    part, quote = "", ""
    for letter in text:
        if letter == quote:
            quote = ""
        elif not quote and letter in "'\"" and not part.strip():
            quote = letter
        elif letter == "," and not quote:
            yield part
            part = ""
            continue
        part += letter
    yield part


def _unquoted(text: str) -> str:
    """Return a text without the quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _expanded(item: str, key: str) -> Iterator[tuple[Path, bool]]:
    """Yield the existing paths that an item stands for, and whether it is a pattern; raise ArtifactError for none."""
    path = expanded(item)
    if is_there(path):
        yield path, False
        return
    if reason := why_out_of_reach(path):
        raise ArtifactError(f"{key}={abbreviated(item)}: {reason}")
    if path.is_symlink():
        raise ArtifactError(f"{path} is a link to {path.readlink()}, which does not exist")
    matches: list[str] = []
    if _PATTERN & set(item):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - the pattern may be absolute
    if matches:
        yield from ((Path(match), True) for match in matches)
        return
    if "," in item and not _PATTERN & set(item):
        raise ArtifactError(f"{key}={abbreviated(item)} does not exist; name several runs as {key}=[a,b]")
    hint = "matches nothing" if _PATTERN & set(item) else f"does not exist; {nearest(path)}"
    raise ArtifactError(f"{key}={abbreviated(item)} {hint}")


def _runs_at(path: Path, is_pattern: bool, key: str, notes: list[str]) -> Iterator[FoundRun]:
    """Yield the runs that a path is or holds; a link that only a pattern matches is passed over."""
    if is_pattern and (path.is_symlink() or not path.is_dir()):
        return
    if not path.is_dir():
        raise ArtifactError(f"{key}={abbreviated(path)} is a file; name a run directory, or a folder of runs")
    is_link, real = path.is_symlink(), path
    while real.is_symlink():
        real = Path(os.path.normpath(real.parent / real.readlink()))
    if is_run(real):
        yield FoundRun(real, is_named=True, is_link=is_link)
    else:
        yield from (FoundRun(run, is_named=False, is_link=is_link) for run in _searched(real, notes))


def is_run(folder: Path) -> bool:
    """Return whether a directory is that of a run, or has traces of one."""
    return any(os.path.lexists(folder / name) for name in (STATUS_NAME, *_TRACES))


def _searched(folder: Path, notes: list[str]) -> Iterator[Path]:
    """Yield the run directories below a folder, by name; nothing hidden, through no links, not within runs."""
    pending, num_read = [(folder, 0)], 0
    while pending:
        place, depth = pending.pop()
        num_read += 1
        if num_read > _MOST_FOLDERS:
            notes.append(f"the search of {folder} ended after {counted(_MOST_FOLDERS, 'folder')}; name a smaller one")
            return
        try:
            with os.scandir(place) as entries:
                below = sorted(
                    entry.path
                    for entry in entries
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                )
        except OSError as error:
            notes.append(f"{place} cannot be read: {error.strerror}")
            continue
        deeper = []
        for path in map(Path, below):
            if is_run(path):
                yield path
            elif depth < _MOST_DEPTH:
                deeper.append((path, depth + 1))
        pending += reversed(deeper)
