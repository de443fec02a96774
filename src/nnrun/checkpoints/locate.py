"""Find the checkpoint file that a path stands for: that of a run directory, verified, or the file itself."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from nnrun.base.errors import ArtifactError, did_you_mean
from nnrun.base.files import read_record
from nnrun.base.open_file import OpenFile
from nnrun.base.paths import abbreviated, check_no_links, why_out_of_reach
from nnrun.base.visible import few
from nnrun.checkpoints.manifest import FOLDER_NAME, MANIFEST_NAME, Manifest, is_whole, open_verified, read_manifest

# The table of a sweep, in its folder: sweeps/table.py writes it.
_SWEEP_NAME = "sweep.json"
# Maximum number of entries that are examined in a folder that is not a run directory.
_MOST_ENTRIES = 1000


@dataclass(frozen=True)
class Located:
    """A verified file, open; the run directory that it is in, if any; and notes."""

    file: OpenFile
    run: Path | None
    notes: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The file's path."""
        return self.file.path


def locate(path: Path, want: str) -> Located:
    """Return the checkpoint file that `path`, a run directory or a file, stands for: verified, and still open.

    `want` is `best` (for `ckpt=` and `init_from=`: a damaged one is an error that names the others, since another
    checkpoint is another model), `last` (for `resume=`: a damaged one falls back to the one before it), or `config`
    (for `repeat=`: likewise, and nothing is written beside it).
    """
    # Resolve links now: `outputs/latest` may point elsewhere before this run ends.
    if reason := why_out_of_reach(path):
        raise ArtifactError(f"{abbreviated(path)}: {reason}")
    while path.is_symlink() and path.exists():
        path = path.parent / path.readlink()
    if path.is_symlink():
        raise ArtifactError(f"{path} is a link to {path.readlink()}, which does not exist")
    if path.is_file():
        return Located(open_verified(path), path.parent.parent if path.parent.name == FOLDER_NAME else None)
    if not path.is_dir():
        what = "is a pipe or a device, not a file" if path.exists() else f"does not exist; {nearest(path)}"
        raise ArtifactError(f"{path} {what}")
    folder = path / FOLDER_NAME
    if not folder.is_dir() and (path / "status.json").is_file():
        raise ArtifactError(f"{path} {_why_empty(path)}")
    if not folder.is_dir():
        raise ArtifactError(f"{path} {_why_no_run(path)}")
    if want == "last":
        check_no_links(path)
    manifest = read_manifest(folder)
    if want == "best":
        return _whole_best(folder, manifest)
    return _newest_whole(folder, manifest)


def _whole_best(folder: Path, manifest: Manifest) -> Located:
    """Return the best checkpoint, verified; for a run that was stopped before it had one, the last, with a note."""
    entries = {entry.name: entry for entry in manifest.files}
    name = manifest.best or manifest.last
    if name is None or name not in entries:
        raise ArtifactError(f"{folder} has no checkpoint yet; resume it with resume={folder.parent}")
    try:
        file = open_verified(folder / name, entries[name])
    except ArtifactError as error:
        whole = [entry.name for entry in manifest.files if entry.name != name and is_whole(folder, entry)]
        others = ", ".join(f"ckpt={folder / other}" for other in whole)
        hint = f"other checkpoints, which are other models: {others}" if others else "no other checkpoint is intact"
        raise ArtifactError(f"{error}; {hint}") from error
    notes = () if manifest.best else (f"{folder.parent} has no best weights yet: using the last, {name}",)
    return Located(file, folder.parent, notes)


def _newest_whole(folder: Path, manifest: Manifest) -> Located:
    """Return the newest intact checkpoint, with a note on each damaged one that was skipped."""
    newest = manifest.files[-1].step if manifest.files else 0
    notes: list[str] = []
    for entry in reversed(manifest.files):
        try:
            file = open_verified(folder / entry.name, entry)
        except ArtifactError as error:
            notes.append(str(error))
            continue
        if notes and entry.step < newest:
            notes.append(f"falling back to {entry.name}: {newest - entry.step} steps are lost and will be repeated")
        best = next((row for row in manifest.files if row.name == manifest.best), None)
        if best is not None and not is_whole(folder, best):
            notes.append(f"the best checkpoint {best.name} is damaged; the best of the resumed training replaces it")
        return Located(file, folder.parent, tuple(notes))
    raise ArtifactError(*notes, f"{folder} has no intact checkpoint; start the run again")


def has_finished_empty(path: Path) -> bool | None:
    """Return whether a run directory without checkpoints is that of a run that finished; None for any other path."""
    if (
        why_out_of_reach(path)
        or not path.is_dir()
        or (path / FOLDER_NAME).is_dir()
        or not (path / "status.json").is_file()
    ):
        return None
    return (read_record(path / "status.json") or {}).get("state") == "finished"


def _why_empty(run: Path) -> str:
    """Return why a run directory has no checkpoints."""
    if has_finished_empty(run):
        return "has no network, since it trained nothing; use a training run"
    return "failed before its first checkpoint; remove it and start the run again"


def _why_no_run(folder: Path) -> str:
    """Return why a folder is not a run directory; list the runs in it, if it is that of a sweep or holds any."""
    runs: list[Path] = []
    with suppress(OSError):  # an unreadable folder has no runs to list
        entries = islice(folder.iterdir(), _MOST_ENTRIES)
        # A link, such as a sweep's to its best job, is a second name.
        runs = [
            entry for entry in entries if not entry.is_symlink() and (entry / FOLDER_NAME / MANIFEST_NAME).is_file()
        ]
    runs.sort(reverse=True)
    sweep = (read_record(folder / _SWEEP_NAME) or {}).get("jobs")
    if not isinstance(sweep, list):
        named = f"; it holds runs, name one of them: {few(runs, longest=None)}" if runs else ""
        return f"is not a run directory: it has no {FOLDER_NAME!r} folder{named}"
    ranking = [Path(str(job.get("directory"))).name for job in sweep if isinstance(job, Mapping)]
    jobs = sorted(runs, key=lambda run: ranking.index(run.name) if run.name in ranking else len(ranking))
    named = (
        f"name one of its jobs, the best first: {few(jobs, longest=None)}"
        if jobs
        else "none of its jobs has a checkpoint"
    )
    return f"is the folder of a sweep, not a run directory: {named}; nnrun -m resume= continues it"


def nearest(path: Path) -> str:
    """Return a hint: the most similar name in the deepest existing parent, or what that holds."""
    parent = next((folder for folder in path.parents if folder.is_dir()), Path())
    missing = path.relative_to(parent).parts[0] if path != parent else path.name
    names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    # Hidden entries are suggested only for a name with a leading dot.
    names = [name for name in names if name.startswith(".") <= missing.startswith(".")]
    return did_you_mean(missing, names) or f"{parent.absolute()} holds {', '.join(sorted(names)[:5]) or 'nothing'}"
