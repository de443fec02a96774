"""The arrays in an `.npz`, in a folder of `.npy` files or in a table of pixels: found by name, opened one by one."""

from __future__ import annotations

import functools
import struct
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.base.errors import DataError, did_you_mean
from nnrun.base.files import check_is_file, state_of
from nnrun.base.foreign_errors import of_the_machine
from nnrun.base.npy_header import BadNpy, NpyHeader, read_npy_entry, read_npy_header
from nnrun.base.paths import expanded, shown
from nnrun.base.visible import few
from nnrun.components.data.data_root import data_root
from nnrun.components.data.pixel_table import SUFFIX as TABLE_SUFFIX
from nnrun.components.data.pixel_table import read_pixel_table

if TYPE_CHECKING:
    import numpy as np

# Usual names of the arrays of a split: samples and labels.
NAMES = ("x_{0}", "X_{0}", "{0}_x", "{0}_images", "{0}_data"), ("y_{0}", "Y_{0}", "{0}_y", "{0}_labels", "{0}_targets")
PARTS = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}
# Names of a further array of a split.
_BESIDE = ("{0}_{1}", "{1}_{0}")
UNSPLIT = ("x", "X", "images", "data"), ("y", "Y", "labels", "targets")
# The local file header of a zip: the lengths of the name and of the extra field, their offset, and the header's size.
_LENGTHS, _LENGTHS_AT, _LOCAL_BYTES = struct.Struct("<HH"), 26, 30
_READ_BYTES = 2**20
# Names of an array of strings that names the target columns.
COLUMN_NAMES = ("target_names", "label_names", "class_names", "names")


@dataclass(frozen=True)
class Array:
    """An array in a file; `member` is its name in an archive, x or y in a table, else None."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return shown(self.path) + (f"[{self.member}]" if self.member else "")

    def open(self) -> np.ndarray:
        """Return the array, mapped into memory unless it is compressed; raise DataError where it is damaged."""
        import numpy as np  # noqa: PLC0415 - a run on other data does not pay for it

        try:
            check_is_file(self.path)
            if self.path.suffix == TABLE_SUFFIX and self.member is not None:
                return read_pixel_table(self.path, state_of(self.path.stat()))[self.member]
            if self.member is None:
                with self.path.open("rb") as file:
                    header = read_npy_header(file, self.path.stat().st_size)
                return mapped_array(self.path, header, header.start)
            if (mapped := _mapped_member(self.path, self.member, state_of(self.path.stat()))) is not None:
                return mapped()
            with zipfile.ZipFile(self.path) as archive:
                header, content = read_npy_entry(archive, archive.getinfo(f"{self.member}.npy"))
            return np.frombuffer(content, np.dtype(header.descr)).reshape(header.shape, order=header.order)
        except DataError:
            raise
        except Exception as error:  # numpy raises anything on damaged bytes
            if of_the_machine(error):
                raise
            raise self._wrong(error) from error

    def _wrong(self, error: Exception) -> DataError:
        """Return the error for a file that numpy cannot read."""
        if isinstance(error, BadNpy):
            return DataError(f"{self} cannot be read as an array: {error}")
        if isinstance(error, OSError) and error.errno is not None:
            return DataError(f"{self} cannot be read: {error.strerror}")
        return DataError(f"{self} is damaged or truncated: {str(error) or type(error).__name__}")


def mapped_array(path: Path, header: NpyHeader, start: int) -> np.ndarray:
    """Return an array that is stored in a file, mapped into memory. Changes stay in memory."""
    import numpy as np  # noqa: PLC0415 - as above

    if not header.num_bytes:  # no system maps nothing
        return np.empty(header.shape, np.dtype(header.descr), header.order)
    # Copy on write, so the file is never written: torch warns about read-only tensors.
    return np.memmap(path, np.dtype(header.descr), "c", start, header.shape, header.order)


@functools.lru_cache(maxsize=32)
def _mapped_member(path: Path, member: str, _state: str) -> Callable[[], np.ndarray] | None:
    """Return a function that memory-maps an array in an archive; None where it is compressed or cannot be mapped.

    The checksum is verified once, until the file changes.
    """
    import numpy as np  # noqa: PLC0415 - as above

    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{member}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        with archive.open(info) as stored:
            header = read_npy_header(stored, info.file_size)
            while stored.read(_READ_BYTES):
                pass  # the checksum is verified at the end
    with path.open("rb") as file:
        file.seek(info.header_offset + _LENGTHS_AT)
        start = info.header_offset + _LOCAL_BYTES + sum(_LENGTHS.unpack(file.read(_LENGTHS.size))) + header.start
    if start % np.dtype(header.descr).alignment:
        return None
    return functools.partial(mapped_array, path, header, start)


def find_arrays(root: str, *, for_test: bool = False) -> dict[str, tuple[Array, Array]]:
    """Return the samples and labels of each split; raise DataError where the file or folder lacks some.

    A test split alone is enough to test a trained network.
    """
    path, arrays = _arrays_in(root)
    found: dict[str, tuple[Array, Array]] = {}
    for part, words in PARTS.items():
        candidates = [[form.format(word) for form in forms for word in words] for forms in NAMES]
        if pair := _pair(path, arrays, *candidates):
            found[part] = pair
    if "train" in found or (for_test and "test" in found):
        return found
    whole = _pair(path, arrays, *UNSPLIT)
    if whole is None or found:
        names = ", ".join(sorted(arrays)) or "no arrays"
        table = path / f"train{TABLE_SUFFIX}"
        hint = f"; to read the table, use data.root={shown(table)}" if table.is_file() else ""
        raise DataError(
            f"{shown(path)} contains {names}; name the arrays x_train, y_train, x_test and y_test, or x and y to have "
            f"nnrun split them{hint}"
        )
    return {"all": whole}


def find_beside(root: str, key: str, name: str, parts: Collection[str]) -> dict[str, Array]:
    """Return the array that a setting names for each split; raise DataError where there is none."""
    path, arrays = _arrays_in(root)
    found = {}
    for part in parts:
        forms = [name] if part not in PARTS else [f.format(name, word) for f in _BESIDE for word in PARTS[part]]
        known = next((form for form in forms if form in arrays), None)
        if known is None:
            hint = did_you_mean(forms[0], list(arrays)) or f"it has {few(sorted(arrays), 8)}"
            raise DataError(f"{key}={name} needs an array {forms[0]} in {shown(path)}; {hint}")
        found[part] = arrays[known]
    return found


def plain_texts(values: np.ndarray) -> list[object]:
    """Return the values of an array in Python's types: numbers, and texts for strings and dates."""
    if values.dtype.kind == "S":
        return [text.decode("utf-8", "backslashreplace") for text in values.ravel().tolist()]
    return list((values.astype(str) if values.dtype.kind == "M" else values).ravel().tolist())


def column_names(root: str) -> list[str] | None:
    """Return the names of the target columns, where the data has an array of them."""
    _, arrays = _arrays_in(root)
    array = next((arrays[name] for name in COLUMN_NAMES if name in arrays), None)
    stated = None if array is None else array.open()
    if stated is None or stated.ndim != 1 or stated.dtype.kind not in "US":
        return None
    return [name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name for name in stated.tolist()]


def _arrays_in(root: str) -> tuple[Path, dict[str, Array]]:
    """Return the file or folder of a root, and its arrays by name."""
    path = expanded(root).absolute()
    if path.suffix == TABLE_SUFFIX:
        return path, {name: Array(path, name) for name in read_pixel_table(path, _state(path))}
    if path.suffix == ".npz" or path.is_file():
        return path, {name: Array(path, name) for name in _members(path)}
    folder = data_root(root)
    if not folder.is_dir():
        beside = [other.name for other in folder.parent.iterdir()] if folder.parent.is_dir() else []
        hint = did_you_mean(folder.name, beside)
        raise DataError(
            f"data.root={shown(root)} does not exist; {hint or 'name an .npz file, or a folder of .npy files'}"
        )
    return path, {file.stem: Array(file) for file in sorted(folder.glob("*.npy"))}


def _state(path: Path) -> str:
    """Return the state of a file, which differs once it is changed; an empty text if there is no file."""
    try:
        return state_of(path.stat())
    except OSError:
        return ""


def _pair(
    path: Path, arrays: Mapping[str, Array], samples: Sequence[str], labels: Sequence[str]
) -> tuple[Array, Array] | None:
    """Return the samples and labels with one of these names each, or None where there are neither."""
    ours, theirs = (next((name for name in names if name in arrays), None) for names in (samples, labels))
    if ours is None and theirs is None:
        return None
    if ours is None or theirs is None:
        lacks = samples[0] if ours is None else labels[0]
        raise DataError(f"{shown(path)} has {ours or theirs} but no {lacks}")
    return arrays[ours], arrays[theirs]


def _members(path: Path) -> list[str]:
    """Return the names of the arrays in an archive."""
    try:
        check_is_file(path)
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except OSError as error:
        raise DataError(f"data.root={shown(path)} cannot be read: {error.strerror}") from error
    except Exception as error:  # zipfile raises anything on damaged bytes
        if of_the_machine(error):
            raise
        raise DataError(f"{shown(path)} is not an .npz archive: {error}") from error
