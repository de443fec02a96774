"""An unpickler that can build only plain values: it knows the instructions that torch.save writes.

Python's own unpickler knows seventy, hashes any key, and has no limit on depth. This one knows those of
torch.load(weights_only=True), and calls only the functions that its caller defines by name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

# Without the tensors, which are separate entries of the file, a checkpoint's values take some kilobytes.
MAX_PICKLE_BYTES = 16 * 2**20
# A state dict takes thirty per tensor; each makes a value of ninety bytes or less.
MAX_INSTRUCTIONS = 2**21
# The maximum depth of Python's pickler.
MAX_MARKS = 1000
MAX_KEY = 2**64
# Python hashes an integer to itself, so keys can be chosen to collide in a dict. This many cost a second at most; an
# optimizer, whose parameters have such keys, has fewer.
MAX_NUMBER_KEYS = 2**15
_NAME_BYTES = 200
# Python's instructions that torch does not read, with their names in pickle.py, for a message.
_OTHERS = {
    b"l": "LIST", b"d": "DICT", b"i": "INST", b"o": "OBJ", b"I": "INT", b"L": "LONG", b"F": "FLOAT", b"S": "STRING",
    b"V": "UNICODE", b"T": "BINSTRING", b"P": "PERSID", b"g": "GET", b"p": "PUT", b"0": "POP", b"1": "POP_MARK",
    b"2": "DUP", b"\x81": "NEWOBJ", b"\x82": "EXT1", b"\x83": "EXT2", b"\x84": "EXT4", b"\x8b": "LONG4",
    b"\x8c": "SHORT_BINUNICODE", b"\x8d": "BINUNICODE8", b"\x8e": "BINBYTES8", b"\x90": "ADDITEMS",
    b"\x91": "FROZENSET", b"\x92": "NEWOBJ_EX", b"\x93": "STACK_GLOBAL", b"\x94": "MEMOIZE", b"\x95": "FRAME",
    b"\x96": "BYTEARRAY8", b"B": "BINBYTES", b"C": "SHORT_BINBYTES",
}  # fmt: skip


class BadPickle(Exception):
    """A pickle is not one of tensors and plain values by torch.save; the message says why."""


class Inert:
    """Stand for a harmless value that nnrun has no use for, such as a set."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}>"


class Ordered(dict[Any, Any]):
    """Replace OrderedDict, without the attributes that a pickle can set on it, which could hide its methods."""

    __slots__ = ()


class Function:
    """Stand for a name that a pickle may call; `call` takes the arguments as a tuple."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[[tuple[Any, ...]], Any]) -> None:
        self.name, self.call = name, call


class PlainUnpickler:
    """Read one pickle.

    `names` maps the names that it may use to a Function or a value; `storage_of` returns the stand-in for the storage
    that a persistent id describes. Raises BadPickle for anything that is not plain, or not one complete pickle.
    """

    def __init__(
        self,
        content: bytes,
        names: Mapping[tuple[str, str], Any],
        storage_of: Callable[[Any], Any],
    ) -> None:
        self._content, self._at = content, 0
        self._names, self._storage_of = names, storage_of
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: list[Any] = []
        self._num_number_keys = 0

    def load(self) -> Any:
        """Return the value of the pickle."""
        self._begin()
        steps = self._steps()
        try:
            for _ in range(MAX_INSTRUCTIONS):
                code = self._take(1)
                if code == b".":
                    return self._result()
                step = steps.get(code)
                if step is None:
                    raise _unknown(code)
                step()
        except (IndexError, KeyError, ValueError, struct.error) as error:
            raise BadPickle("its pickle is broken") from error
        raise BadPickle(f"its pickle has more than {MAX_INSTRUCTIONS:,} instructions")

    def _begin(self) -> None:
        """Skip the instruction that states the protocol."""
        if self._content[:2] != b"\x80\x02":
            raise BadPickle("its pickle does not begin as torch.save begins one (protocol 2)")
        self._at = 2

    def _result(self) -> Any:
        """Return the value that is left at the end."""
        if self._at != len(self._content):
            raise BadPickle("there are bytes after the end of its pickle")
        if len(self._stack) != 1 or self._marks:
            raise BadPickle("its pickle does not leave exactly one value")
        return self._stack[0]

    def _steps(self) -> dict[bytes, Callable[[], None]]:
        """Return the action for each instruction."""
        push = self._push
        return {
            b"(": self._mark,
            b"N": lambda: push(None),
            b"\x88": lambda: push(True),
            b"\x89": lambda: push(False),
            b"K": lambda: push(self._take(1)[0]),
            b"M": lambda: push(self._number("<H", 2)),
            b"J": lambda: push(self._number("<i", 4)),
            b"G": lambda: push(self._number(">d", 8)),
            b"\x8a": lambda: push(int.from_bytes(self._take(self._take(1)[0]), "little", signed=True)),
            b"X": lambda: push(self._text(self._number("<I", 4))),
            b"U": lambda: push(self._text(self._take(1)[0])),
            b")": lambda: push(()),
            b"]": lambda: push([]),
            b"}": lambda: push({}),
            b"\x8f": lambda: push(Inert("set")),
            b"t": lambda: self._collect(tuple),
            b"\x85": lambda: self._join(1),
            b"\x86": lambda: self._join(2),
            b"\x87": lambda: self._join(3),
            b"a": lambda: self._append([self._stack.pop()]),
            b"e": lambda: self._append(self._pop_mark()),
            b"s": lambda: self._set([self._stack.pop(-2), self._stack.pop()]),
            b"u": lambda: self._set(self._pop_mark()),
            b"q": lambda: self._remember(self._take(1)[0]),
            b"r": lambda: self._remember(self._number("<I", 4)),
            b"h": lambda: push(self._memo[self._take(1)[0]]),
            b"j": lambda: push(self._memo[self._number("<I", 4)]),
            b"c": self._find_name,
            b"R": self._call,
            b"b": self._build,
            b"Q": lambda: push(self._storage_of(self._stack.pop())),
        }

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _take(self, size: int) -> bytes:
        """Return the next bytes."""
        taken = self._content[self._at : self._at + size]
        if len(taken) != size:
            raise BadPickle("its pickle is truncated")
        self._at += size
        return taken

    def _number(self, form: str, size: int) -> Any:
        return struct.unpack(form, self._take(size))[0]

    def _text(self, size: int) -> str:
        return str(self._take(size), "utf-8", "surrogatepass")

    def _line(self) -> str:
        """Return the text up to the next line feed."""
        end = self._content.index(b"\n", self._at, self._at + _NAME_BYTES)
        text = self._content[self._at : end].decode()
        self._at = end + 1
        return text

    def _mark(self) -> None:
        if len(self._marks) >= MAX_MARKS:
            raise BadPickle("its pickle is nested too deep")
        self._marks.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _collect(self, kind: Callable[[list[Any]], Any]) -> None:
        items = self._pop_mark()
        self._push(kind(items))

    def _join(self, count: int) -> None:
        """Make a tuple of the last values."""
        if len(self._stack) < count:
            raise BadPickle("its pickle is broken")
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise BadPickle(f"its pickle appends to a {_kind(target)}")
        target.extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) not in (dict, Ordered) or len(items) % 2:
            raise BadPickle(f"its pickle sets items of a {_kind(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) in (int, float):
                self._num_number_keys += 1
            target[_as_key(key, self._num_number_keys <= MAX_NUMBER_KEYS)] = value

    def _remember(self, index: int) -> None:
        """Memoize the last value; picklers number memoized values one by one, Python 2's from 1."""
        self._memo += [None] * (index == len(self._memo) + 1)
        if index == len(self._memo):
            self._memo.append(self._stack[-1])
        elif index < len(self._memo):
            self._memo[index] = self._stack[-1]
        else:
            raise BadPickle("its pickle memoizes values at indices that no pickler uses")

    def _find_name(self) -> None:
        self._push(self._named(self._line(), self._line()))

    def _named(self, module: str, name: str) -> Any:
        """Return what a name stands for."""
        found = self._names.get((module, name))
        if found is None:
            raise BadPickle(f"it holds {module}.{name}, but a checkpoint holds only tensors and plain values")
        return found

    def _call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if type(function) is not Function or type(arguments) is not tuple:
            raise BadPickle(f"its pickle calls a {_kind(function)}")
        self._push(function.call(arguments))

    def _build(self) -> None:
        """Skip the state of an OrderedDict, such as the versions of modules; refuse that of anything else."""
        state, target = self._stack.pop(), self._stack[-1]
        if type(target) is not Ordered or not isinstance(state, dict):
            raise BadPickle(f"its pickle sets the state of a {_kind(target)}")


def _as_key(key: Any, may_be_number: bool) -> Any:
    """Return a key if it is cheap to hash; replace any other with one that no lookup finds."""
    is_number = type(key) is float or (type(key) is int and abs(key) <= MAX_KEY)
    if type(key) is str or key is None or type(key) is bool or (is_number and may_be_number):
        return key
    if isinstance(key, list | dict):
        raise BadPickle(f"its pickle has a {_kind(key)} as a key")
    return Inert("key")


def _kind(value: Any) -> str:
    """Return the kind of a value, for a message."""
    return (
        value.name if isinstance(value, Function) else value.kind if isinstance(value, Inert) else type(value).__name__
    )


def _unknown(code: bytes) -> BadPickle:
    """Return the error for an instruction that torch does not read either."""
    name = _OTHERS.get(code, f"0x{code.hex()}")
    return BadPickle(
        f"its pickle has the instruction {name}, which torch.save does not write and weights_only=True does not read"
    )
