"""Keep what a run writes and removes inside its own directory, whatever an untrusted file says."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from pathlib import Path

from nnrun.base.errors import ArtifactError

# The folders of an absolute path, or of one that starts in a home folder.
_FOLDERS = re.compile(r"(?<![\w./:])(?:[A-Za-z]:\\|~?/)(?:[^\s'\":;,()<>|\\/]*[\\/])*")
_NAME = re.compile(r"\w[\w.+-]{0,99}")
NAME_WORDS = "a name of up to 100 letters, digits, _, -, + and dots"
# The depth of the folders in a run directory that nnrun itself writes into.
_DEPTH = 2
_MOST_SHOWN = 400


def is_plain_name(name: object) -> bool:
    """Return whether a text is the plain name of a file or folder: not a path, not `..`."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def inside(folder: Path, *names: str) -> Path:
    """Return the path of `names`, one below the other, in a folder, for writing or removing.

    Raises ArtifactError if it would be outside: a name is a path or `..`, or one of them is a link. The folder itself
    may be a link.
    """
    path = folder
    for name in names:
        if not name or name in (".", "..") or "/" in name or "\0" in name or os.sep in name:
            raise ArtifactError(f"{ascii(name)[:80]} is not the name of a file in {folder}; nothing was written")
        path = path / name
        if path.is_symlink():
            raise ArtifactError(
                f"{path} is a link: files written or removed there would be outside the folder; remove the link"
            )
    return path


def alone(path: Path) -> Path:
    """Replace a file that has other names (hard links) by a copy, so that it can be written in place; return its path.

    Those names may be in a backup or in somebody else's folder.
    """
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            copy = path.with_name(f".{path.name}.copy.tmp")
            shutil.copy2(path, copy)
            copy.replace(path)
    return path


def why_out_of_reach(path: Path) -> str | None:
    """Return why the system cannot tell whether a path exists, such as a name that is too long; None if it can."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"it cannot be reached: {error.strerror}"
    except ValueError as error:  # a NUL byte
        return f"it is not a path: {error}"
    return None


def is_there(path: Path | str) -> bool:
    """Return whether a path exists; False if the system cannot tell."""
    return why_out_of_reach(Path(path)) is None and Path(path).exists()


def expanded(path: Path | str) -> Path:
    """Return a path with a leading `~` expanded to the home folder; unchanged if that user is unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def abbreviated(path: Path | str) -> str:
    """Return a path for a message; of a very long one, the beginning and the end."""
    text = str(path)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN // 2]}...{text[-_MOST_SHOWN // 4 :]}"


def check_no_links(run: Path) -> None:
    """Raise ArtifactError if a run directory that is to be written into holds links, pipes or devices.

    What is written or removed through a link is elsewhere; a pipe would block.
    """
    pending = [(run, 1)]
    while pending:
        folder, depth = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise ArtifactError(
                        f"{entry.path} is a link, but a resumed run writes only inside its own directory; replace the "
                        "link with what it points to"
                    )
                if entry.is_dir():
                    pending += [(Path(entry.path), depth + 1)] if depth < _DEPTH else []
                elif not entry.is_file():
                    raise ArtifactError(
                        f"{entry.path} is neither a file nor a folder; remove it from the run directory"
                    )


def without_paths(text: str) -> str:
    """Return a text with absolute paths shortened to their last part: the rest is private in files that are shared."""
    # These two may contain spaces, which the pattern takes for the end of a path.
    for folder in (Path.cwd(), Path.home()):
        text = text.replace(f"{folder}{os.sep}", "")
    return _FOLDERS.sub("", text)


def is_private(text: str) -> bool:
    """Return whether a text is a path that says where somebody keeps files: absolute, from home, or with `..`."""
    return (len(text) > 1 and text.startswith(("/", "~", "file:", "\\\\"))) or (
        re.match(r"[A-Za-z]:[\\/]", text) is not None or ".." in re.split(r"[\\/]", text)
    )


def shown(path: Path | str) -> str:
    """Return a path or name in one line that any terminal and any file can take: what else is in it as `\\x..`."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
