"""Read an untrusted pickle of numpy arrays without running anything in it.

The unpickler can build only plain values and descriptions of arrays; numpy itself is not called.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnrun.base.files import check_is_file
from nnrun.components.data.data_root import damaged, unreadable


class StoredArray:
    """A numpy array in a pickle: `shape`, the code of its type (`u1` is uint8), and its bytes."""

    shape: tuple[int, ...] = ()
    code = ""
    data = b""
    is_fortran = False

    def __init__(self, *_: object) -> None:
        """Ignore the arguments of numpy's constructor: the state has everything."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        # A pickle of Python 2 holds the bytes as a string.
        data = data.encode("latin1") if isinstance(data, str) else data
        # bytes(number) would allocate that much memory.
        if not isinstance(data, bytes | bytearray) or not isinstance(dtype, _StoredType):
            raise pickle.UnpicklingError("an array without bytes or type")
        if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 2**63 for size in shape):
            raise pickle.UnpicklingError("an array without a shape")
        self.shape, self.code, self.is_fortran, self.data = shape, dtype.code, bool(is_fortran), bytes(data)

    def __str__(self) -> str:
        return f"{self.code} of {self.shape}" + (", in Fortran order" if self.is_fortran else "")

    def is_uint8(self, shape: tuple[int, ...]) -> bool:
        """Return whether the bytes are uint8 values of this shape in C order."""
        return self.code in ("u1", "uint8") and not self.is_fortran and self.shape == shape


def read_array_pickle(path: Path) -> dict[Any, Any]:
    """Return the mapping in a file, arrays as StoredArray, strings of Python 2 as latin-1.

    Raises DataError where it is anything else, or refers to names other than those of numpy's arrays.
    """
    try:
        check_is_file(path)
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except Exception as error:  # an unpickler raises anything on damaged bytes
        raise unreadable(path, error) from error
    if not isinstance(content, dict):
        raise damaged(path, "it contains no mapping")
    return content


class _ArrayUnpickler(pickle.Unpickler):
    """Build plain values and StoredArray; refuse any other name."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            wanted = f"{module}.{name}"
            raise pickle.UnpicklingError(
                f"it refers to {wanted[:80]!r}, which no such file needs; nothing was run"
            ) from None


class _StoredType:
    """A numpy dtype in a pickle: its code."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = str(code)[:8] if isinstance(code, str) else ""

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and fields: a type of one byte has none."""


def _array_from_buffer(data: bytes, dtype: _StoredType, shape: tuple[int, ...], order: str, *_: object) -> StoredArray:
    """Return the description of an array as pickle protocol 5 stores it."""
    array = StoredArray()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _latin1(text: str, encoding: str) -> bytes:
    """Return the bytes that protocol 2 stores as text; no other codec is looked up."""
    if encoding != "latin1":
        raise pickle.UnpicklingError("bytes in an encoding other than latin1")
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): StoredArray,
    ("numpy", "dtype"): _StoredType,
    ("_codecs", "encode"): _latin1,
    # The private modules were renamed in numpy 2.
    ("numpy.core.multiarray", "_reconstruct"): StoredArray,
    ("numpy._core.multiarray", "_reconstruct"): StoredArray,
    ("numpy.core.numeric", "_frombuffer"): _array_from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _array_from_buffer,
}
