"""The files under `data.root`: where they are, and what is said when one cannot be read or written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from nnrun.base.errors import DataError, ResourceError


def data_root(root: str) -> Path:
    """Return `data.root` as an absolute path; raise DataError where a file stands in its way."""
    path = Path(root)
    with contextlib.suppress(RuntimeError):  # a `~name` of nobody is a folder's name
        path = path.expanduser()
    path = path.absolute()
    for folder in (path, *path.parents):
        if is_file(folder):
            raise DataError(f"data.root={root}: {folder} is a file, not a folder; name the folder of the data sets")
    return path


def is_file(path: Path) -> bool:
    """Return whether a file is there; raise DataError where that cannot be known."""
    try:
        return path.is_file()
    except OSError as error:
        raise unreadable(path, error) from error


def damaged(path: Path, what: str) -> DataError:
    """Return the error for a file that is not what its name says."""
    return DataError(f"{path} is damaged: {what}; move it away, and run again with data.download=true")


def unreadable(path: Path, error: Exception) -> DataError:
    """Return the error for a file whose reading failed: by the disk's word, or by what is in it."""
    if isinstance(error, OSError) and error.errno is not None:
        return DataError(f"{path} cannot be read: {error.strerror}; check its permissions, or choose another data.root")
    return damaged(path, str(error) or type(error).__name__)


@contextlib.contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Turn what a disk can do to a data set's file into a ResourceError that names the folder and the way out."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            f"cannot write into {folder}: {reason}; make room or give permission there, or choose another data.root"
        ) from error
