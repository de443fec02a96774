"""The files under `data.root`: their paths, and the errors where one cannot be read or written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from nnrun.base.errors import DataError, ResourceError


def data_root(root: str) -> Path:
    """Return `data.root` as an absolute path; raise DataError where it is, or is below, a file."""
    path = Path(root)
    with contextlib.suppress(RuntimeError):  # `~name` of an unknown user is the name of a folder
        path = path.expanduser()
    path = path.absolute()
    for folder in (path, *path.parents):
        if is_file(folder):
            raise DataError(
                f"data.root={root}: {folder} is a file, not a folder; set it to the folder of the data sets"
            )
    return path


def is_file(path: Path) -> bool:
    """Return whether a file exists; raise DataError where this cannot be determined."""
    try:
        return path.is_file()
    except OSError as error:
        raise unreadable(path, error) from error


def damaged(path: Path, what: str) -> DataError:
    """Return the error for a file with the wrong content."""
    return DataError(f"{path} is damaged: {what}; move it away, and run again with data.download=true")


def unreadable(path: Path, error: Exception) -> DataError:
    """Return the error for a file that cannot be read, because of the disk or of its content."""
    if isinstance(error, OSError) and error.errno is not None:
        return DataError(f"{path} cannot be read: {error.strerror}; check its permissions, or choose another data.root")
    return damaged(path, str(error) or type(error).__name__)


@contextlib.contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Turn a disk error into a ResourceError that names the folder and says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            f"cannot write into {folder}: {reason}; free some space, grant permission, or choose another data.root"
        ) from error
