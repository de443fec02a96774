"""Open images for reading, from files or from bytes in memory; an error names the file or the sample."""

from __future__ import annotations

import contextlib
import functools
import io
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, NamedTuple, TypeVar

from nnrun.base.errors import DataError, NnrunError
from nnrun.base.files import check_is_file
from nnrun.base.foreign_errors import lacks_package, of_the_machine
from nnrun.base.paths import shown

if TYPE_CHECKING:
    from PIL.Image import Image

# Larger files are not read a second time without metadata.
_MAX_BYTES = 2**30

Read = TypeVar("Read")


class Cell(NamedTuple):
    """The content of an image file that is a cell of a table, and its name for messages."""

    name: str
    content: bytes


Source = Path | str | Cell


@functools.cache
def pixels_module() -> ModuleType:
    """Return the module that decodes images."""
    try:
        from nnrun.components.data import pixels  # noqa: PLC0415 - a run on other data does not pay for Pillow
    except ModuleNotFoundError as error:
        raise lacks_package("reading images", error) from error
    return pixels


def read_opened(source: Source, read: Callable[[Image], Read]) -> Read:
    """Return what `read` returns for an image; raise DataError where it is not an image, or is refused.

    One that cannot be read is read again without its metadata, which may be what is broken.
    """
    if isinstance(source, Cell):
        with reading(source.name):
            return _read(source.name, lambda: io.BytesIO(source.content), len(source.content), read)
    path = Path(source)
    with reading(path):
        status = path.stat()
        check_is_file(path)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{shown(path)} is not a regular file")
        return _read(shown(path), lambda: path.open("rb"), status.st_size, read)


def _read(name: str, opened: Callable[[], IO[bytes]], num_bytes: int, read: Callable[[Image], Read]) -> Read:
    pixels = pixels_module()
    if num_bytes == 0:
        raise DataError(f"{name} is empty: it has 0 bytes")
    try:
        with opened() as file, pixels.open_image(file) as image:
            return read(image)
    except ModuleNotFoundError as error:
        raise lacks_package(f"reading {name}", error) from error
    except Exception as error:  # Pillow raises anything on damaged bytes
        if of_the_machine(error):
            raise
        bare = None
        if num_bytes < _MAX_BYTES:
            with opened() as file:
                bare = pixels.without_metadata(file.read())
        if bare is not None:
            with contextlib.suppress(Exception), pixels.open_image(io.BytesIO(bare)) as image:
                return read(image)
        raise _refused(name, opened, error) from error


def _refused(name: str, opened: Callable[[], IO[bytes]], error: Exception) -> Exception:
    """Return the error for an image that Pillow does not decode."""
    kind = type(error).__name__
    if kind == "UnidentifiedImageError":
        with opened() as file:
            start = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        is_html = start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))
        what = "it contains HTML, as after a failed download" if is_html else "unknown format"
        return DataError(f"{name} is not an image: {what}")
    if kind == "DecompressionBombError" or "are decoded" in str(error):
        return DataError(f"{name} is not decoded: {error}; make it smaller")
    if isinstance(error, ValueError) and str(error).startswith("its pixels"):
        return DataError(f"{name}: {error}")
    return error


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turn an error while a file or folder is read into a DataError that names it.

    Errors of the machine, such as a lack of memory, are passed on.
    """
    try:
        yield
    except NnrunError:
        raise
    except BaseException as error:
        # polars panics on some damaged files: what it raises then is no Exception.
        is_panic = type(error).__name__ == "PanicException"
        if not (isinstance(error, Exception) or is_panic) or of_the_machine(error):
            raise
        if is_panic:
            raise DataError(f"{shown(path)} is damaged: it cannot be read; restore it") from error
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{shown(path)} cannot be read: {error.strerror}") from error
        reason = str(error) or type(error).__name__
        raise DataError(f"{shown(path)} is damaged or truncated: {reason}; restore it") from error
