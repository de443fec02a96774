"""Where a run writes and removes: inside its own directory, whatever a file of somebody else's says."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from pathlib import Path

from nnrun.base.errors import ArtifactError

# A path from the root, or from somebody's home: what comes before its last part.
_FOLDERS = re.compile(r"(?<![\w./:])(?:[A-Za-z]:\\|~?/)(?:[^\s'\":;,()<>|\\/]*[\\/])*")
_NAME = re.compile(r"\w[\w.+-]{0,99}")
NAME_WORDS = "a name of letters, digits, _, -, + and dots, at most 100"
# So deep are the folders of a run directory that nnrun itself writes into.
_DEPTH = 2
_MOST_SHOWN = 400


def is_plain_name(name: object) -> bool:
    """Return whether a text can be the name of a file or folder, and of nothing elsewhere: no path, no `..`."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def inside(folder: Path, *names: str) -> Path:
    """Return the path of `names`, one below the other, in a folder: where something is to be written or removed.

    Raises ArtifactError where it would lie elsewhere: a name is a path or `..`, or one of them is a link. The folder
    itself may be one.
    """
    path = folder
    for name in names:
        if not name or name in (".", "..") or "/" in name or "\0" in name or os.sep in name:
            raise ArtifactError(f"{ascii(name)[:80]} is not the name of anything in {folder}; nothing was written")
        path = path / name
        if path.is_symlink():
            raise ArtifactError(
                f"{path} is a link, and what is written or removed there would lie elsewhere; remove it"
            )
    return path


def alone(path: Path) -> Path:
    """Return a path after seeing to it that its file, to be written in place, has no other name: by a copy of its own.

    By a hard link the same file can lie elsewhere, in a backup or in somebody else's folder.
    """
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            copy = path.with_name(f".{path.name}.copy.tmp")
            shutil.copy2(path, copy)
            copy.replace(path)
    return path


def why_out_of_reach(path: Path) -> str | None:
    """Return why the system cannot even say whether a path exists, such as a name that is too long; None if it can."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"it cannot be reached: {error.strerror}"
    except ValueError as error:  # a NUL byte
        return f"it is no path: {error}"
    return None


def is_there(path: Path | str) -> bool:
    """Return whether a path exists, where the system can say that."""
    return why_out_of_reach(Path(path)) is None and Path(path).exists()


def expanded(path: Path | str) -> Path:
    """Return a path with a `~` at its start as the home folder; of a user who is not there it stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def abbreviated(path: Path | str) -> str:
    """Return a path for a message; of one that would fill the screen the beginning and the end."""
    text = str(path)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN // 2]}...{text[-_MOST_SHOWN // 4 :]}"


def check_no_links(run: Path) -> None:
    """Raise ArtifactError where a run directory that is to be written into holds links, pipes or devices.

    What is written to them, or removed, is elsewhere; a pipe would be waited for.
    """
    pending = [(run, 1)]
    while pending:
        folder, depth = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise ArtifactError(
                        f"{entry.path} is a link, and a run is resumed inside its own directory; put what it points to "
                        "in its place"
                    )
                if entry.is_dir():
                    pending += [(Path(entry.path), depth + 1)] if depth < _DEPTH else []
                elif not entry.is_file():
                    raise ArtifactError(
                        f"{entry.path} is neither a file nor a folder; a run directory holds nothing else"
                    )


def without_paths(text: str) -> str:
    """Return a text whose absolute paths are shortened to their last part: in what is given away they are private."""
    # These may have spaces in them, by which a path cannot be told from the words around it.
    for folder in (Path.cwd(), Path.home()):
        text = text.replace(f"{folder}{os.sep}", "")
    return _FOLDERS.sub("", text)


def is_private(text: str) -> bool:
    """Return whether a text is a path that says where somebody keeps files: absolute, from home, or out of a folder."""
    return (len(text) > 1 and text.startswith(("/", "~", "file:", "\\\\"))) or (
        re.match(r"[A-Za-z]:[\\/]", text) is not None or ".." in re.split(r"[\\/]", text)
    )


def shown(path: Path | str) -> str:
    """Return a path or name in one line that any terminal and any file can take: what else is in it as `\\x..`."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
