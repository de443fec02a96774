"""Read an untrusted pickle of numpy arrays without running anything in it.

The reader is the one of checkpoints, which knows few instructions and builds only plain values. This one also knows
those of Python 2's strings and of protocols 4 and 5, and builds descriptions of arrays; numpy itself is not called.
Python's own unpickler is not used, with whatever names: it hashes a key that is nested a million times, which ends the
process.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnrun.base.files import check_is_file
from nnrun.checkpoints.safe_pickle import BadPickle, Function, Inert, PlainUnpickler
from nnrun.components.data.data_root import damaged, unreadable

_PROTOCOLS = (2, 3, 4, 5)
_LEAST_PROTOCOL_OF_FRAMES = 4


class StoredArray:
    """A numpy array in a pickle: `shape`, the code of its type (`u1` is uint8), and its bytes."""

    shape: tuple[int, ...] = ()
    code = ""
    data = b""
    is_fortran = False

    def fill(self, state: Any) -> None:
        """Take the state that numpy saves: a version, shape, type, order and bytes; raise BadPickle for another."""
        if type(state) is not tuple or len(state) != 5:
            raise BadPickle("an array without a state")
        _, shape, dtype, is_fortran, data = state
        # A pickle of Python 2 holds the bytes as a string.
        data = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(data, bytes) or not isinstance(dtype, _StoredType):
            raise BadPickle("an array without bytes or type")
        if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 2**63 for size in shape):
            raise BadPickle("an array without a shape")
        self.shape, self.code, self.is_fortran, self.data = shape, dtype.code, bool(is_fortran), data

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
        content = _ArrayUnpickler(path.read_bytes()).load()
    except (OSError, BadPickle) as error:
        raise unreadable(path, error) from error
    if not isinstance(content, dict):
        raise damaged(path, "it contains no mapping")
    return content


class _ArrayUnpickler(PlainUnpickler):
    """Build plain values and StoredArray; refuse any other name."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content, _STAND_INS, _no_storage)
        self._num_encoded = 0

    def _begin(self) -> None:
        if not self._content:
            raise BadPickle("it is empty")
        if self._content[:1] != b"\x80" or self._content[1:2] not in map(_byte, _PROTOCOLS):
            raise BadPickle("it is not a pickle of numpy arrays")
        self._at = 2

    def _steps(self) -> dict[bytes, Callable[[], None]]:
        push, take, number = self._push, self._take, self._number
        return super()._steps() | {
            b"U": lambda: push(take(take(1)[0]).decode("latin1")),
            b"T": lambda: push(take(number("<I", 4)).decode("latin1")),
            b"C": lambda: push(take(take(1)[0])),
            b"B": lambda: push(take(number("<I", 4))),
            b"\x8e": lambda: push(take(number("<Q", 8))),
            b"\x96": lambda: push(take(number("<Q", 8))),
            b"\x8c": lambda: push(self._text(take(1)[0])),
            b"\x93": self._find_stacked_name,
            b"\x94": lambda: self._remember(len(self._memo)),
            b"\x95": self._frame,
        }

    def _frame(self) -> None:
        """Skip the header of a frame, which says how many bytes may be read at once."""
        if self._content[1] < _LEAST_PROTOCOL_OF_FRAMES:
            raise BadPickle("its pickle has a frame, which its protocol does not know")
        self._take(8)

    def _find_stacked_name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise BadPickle("its pickle refers to a name that is not text")
        self._push(self._named(module, name))

    def _named(self, module: str, name: str) -> Any:
        if (module, name) not in self._names:
            raise BadPickle(f"it refers to {f'{module}.{name}'[:80]!r}, which no such file needs; nothing was run")
        return self._names[module, name]

    def _call(self) -> None:
        # Each text is stored once for each time that it is encoded; references to it would multiply it.
        arguments = self._stack[-1]
        if type(arguments) is tuple and self._stack[-2] is _LATIN1:
            self._num_encoded += sum(len(text) for text in arguments if isinstance(text, str))
            if self._num_encoded > 2 * len(self._content):
                raise BadPickle("its pickle encodes more text than it holds")
        super()._call()

    def _build(self) -> None:
        """Take the state of an array; skip that of a type: byte order and fields, which one of one byte has not."""
        if type(self._stack[-2]) is StoredArray:
            self._stack[-2].fill(self._stack.pop())
        elif type(self._stack[-2]) is _StoredType:
            self._stack.pop()
        else:
            super()._build()


class _StoredType:
    """A numpy dtype in a pickle: its code."""

    def __init__(self, code: Any) -> None:
        self.code = code[:8] if isinstance(code, str) else ""


def _byte(number: int) -> bytes:
    return bytes((number,))


def _no_storage(_: Any) -> None:
    raise BadPickle("it refers to a tensor of torch")


def _array_from_buffer(given: tuple[Any, ...]) -> StoredArray:
    """Return the description of an array as pickle protocol 5 stores it: bytes, type, shape and order."""
    array = StoredArray()
    data, dtype, shape, order = given if len(given) == 4 else (None,) * 4
    array.fill((1, shape, dtype, order == "F", data))
    return array


def _latin1(given: tuple[Any, ...]) -> bytes:
    """Return the bytes that protocol 2 stores as text; no other codec is looked up."""
    if len(given) != 2 or type(given[0]) is not str or given[1] != "latin1":
        raise BadPickle("bytes in an encoding other than latin1")
    return given[0].encode("latin1")


_LATIN1 = Function("encode", _latin1)
_RECONSTRUCT = Function("_reconstruct", lambda _: StoredArray())
_FROM_BUFFER = Function("_frombuffer", _array_from_buffer)
_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): Inert("numpy.ndarray"),
    ("numpy", "dtype"): Function("dtype", lambda given: _StoredType(given[0] if given else None)),
    ("_codecs", "encode"): _LATIN1,
    # The private modules were renamed in numpy 2.
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
}
