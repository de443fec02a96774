"""Read the header of a `.npy` file. Standard library only.

    magic, version, length    b"\\x93NUMPY", 1.0 to 3.0, the number of bytes of the text
    text                      {KEY: VALUE, KEY: VALUE, KEY: VALUE}, in any order, each key once, then spaces
    'descr'                   a type of one piece in quotes: '<f4', '|u1', '<U12', '<M8[ns]'
    'fortran_order'           True or False
    'shape'                   (), (3,), (3, 4): whole numbers, with the L of Python 2 or without

numpy itself has Python evaluate the text, which can run out of memory or take the stack, and believes its shape. Here
nothing is evaluated, and the shape is compared with the bytes that there are.
Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
from collections.abc import Callable
from typing import IO, Literal, NamedTuple

_MAGIC = b"\x93NUMPY"
_MOST_TEXT_BYTES, _MOST_DIMENSIONS, _MOST_ELEMENTS = 10_000, 64, 2**62
_PAIR = re.compile(
    r"""\s*(['"])(?P<key>descr|fortran_order|shape)\1\s*:\s*"""
    r"""(?:(['"])(?P<descr>[^'"]*)\3|(?P<flag>True|False)|\((?P<shape>[\d\sL,]*)\)|(?P<fields>\[))\s*"""
)
_DESCR = re.compile(r"[<>|=]?(?P<kind>[?biufcmMSUVO])(?P<size>\d{0,9})(?:\[\d{0,9}[A-Za-zμ]{1,2}(?:/\d{1,9})?\])?")
_LENGTH = re.compile(r"\s*(\d{1,20})L?\s*")
# Bytes of a character of text; of the types without a number, one value.
_UNIT, _ALONE = {"U": 4}, {"?": 1, "b": 1, "O": 8}
# The most that deflate compresses.
_MOST_RATIO = 1032
_CHUNK = 2**20


class NpyHeader(NamedTuple):
    """The header of an array: its type as numpy writes it, shape and order; where the values begin, and their bytes."""

    descr: str
    shape: tuple[int, ...]
    is_fortran: bool
    start: int
    num_bytes: int

    @property
    def order(self) -> Literal["C", "F"]:
        """The order of the values, as numpy names it."""
        return "F" if self.is_fortran else "C"


class BadNpy(ValueError):
    """An array is not stored as numpy stores one of numbers or text; the message says why."""


def read_npy_header(file: IO[bytes], num_bytes: int) -> NpyHeader:
    """Return the header of a file of `num_bytes` bytes, which is read from its beginning to the first value.

    Raises BadNpy where it is not one, has fields or Python objects, or describes more values than the file has.
    """
    begin = file.read(8)
    if begin[:6] != _MAGIC:
        raise BadNpy("it does not begin as a .npy file does")
    if begin[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise BadNpy("its version of the format is unknown")
    form = "<H" if begin[6] == 1 else "<I"
    length = file.read(struct.calcsize(form))
    num_text = struct.unpack(form, length)[0] if len(length) == struct.calcsize(form) else _MOST_TEXT_BYTES + 1
    if num_text > _MOST_TEXT_BYTES:
        raise BadNpy("its header is truncated or too long")
    content = file.read(num_text)
    if len(content) != num_text:
        raise BadNpy("it ends inside its header")
    descr, shape, is_fortran = _parsed(content.decode("utf-8" if begin[6] == 3 else "latin1", "replace"))
    start, count = 8 + len(length) + num_text, math.prod(shape)
    size = count * _item_bytes(descr)
    if size > num_bytes - start:
        raise BadNpy(f"its header describes {size:,} bytes of values, but it has {max(0, num_bytes - start):,}")
    return NpyHeader(descr, shape, is_fortran, start, size)


def _parsed(text: str) -> tuple[str, tuple[int, ...], bool]:
    """Return the type, the shape and whether the order is Fortran's."""
    inside = text.strip()
    if inside[:1] != "{" or inside[-1:] != "}":
        raise BadNpy("its header is not a description of an array")
    found: dict[str, re.Match[str]] = {}
    at, inside = 0, inside[1:-1].rstrip().removesuffix(",")
    while at < len(inside):
        pair = _PAIR.match(inside, at)
        if pair and pair["fields"]:
            raise BadNpy("its values have fields; arrays of plain numbers or text are read")
        if not pair or pair["key"] in found or inside[pair.end() : pair.end() + 1] not in ("", ","):
            raise BadNpy("its header is not a description of an array")
        found[pair["key"]], at = pair, pair.end() + 1
    wanted: dict[str, Callable[[re.Match[str]], bool]] = {
        "descr": lambda pair: pair["descr"] is not None,
        "fortran_order": lambda pair: pair["flag"] is not None,
        "shape": lambda pair: pair["shape"] is not None,
    }
    if not all(key in found and is_right(found[key]) for key, is_right in wanted.items()):
        raise BadNpy("its header is not a description of an array")
    return found["descr"]["descr"], _shape(found["shape"]["shape"]), found["fortran_order"]["flag"] == "True"


def _shape(text: str) -> tuple[int, ...]:
    """Return the lengths of the dimensions."""
    numbers = text.strip().removesuffix(",").split(",") if text.strip() else []
    lengths = [_LENGTH.fullmatch(number) for number in numbers]
    if len(lengths) > _MOST_DIMENSIONS or not all(lengths) or (len(numbers) == 1 and "," not in text):
        raise BadNpy("its shape is not one of an array")
    shape = tuple(int(length[1]) for length in lengths if length)
    if math.prod(max(1, length) for length in shape) >= _MOST_ELEMENTS:
        raise BadNpy("its shape is too large")
    return shape


def _item_bytes(descr: str) -> int:
    """Return the size of a value; raise BadNpy for types without one, and for Python objects."""
    known = _DESCR.fullmatch(descr)
    if known is None:
        raise BadNpy(f"its type {descr[:40]!r} is not one of numbers or text")
    kind, digits = known["kind"], known["size"]
    if kind == "O":
        raise BadNpy("it contains Python objects, a pickle, which is never loaded; save text with array.astype(str)")
    size = int(digits) * _UNIT.get(kind, 1) if digits else _ALONE.get(kind, 0)
    if size == 0:
        raise BadNpy(f"its type {descr[:40]!r} has no size")
    return size


def read_npy_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[NpyHeader, bytearray]:
    """Return an array of an `.npz`: its header, and the bytes of its values.

    Raises BadNpy where it is malformed or claims more than the archive can hold, and what zipfile raises where it is
    damaged.
    """
    if entry.file_size > _MOST_RATIO * entry.compress_size + _CHUNK:
        raise BadNpy(f"it claims {entry.file_size:,} bytes in {entry.compress_size:,} compressed ones")
    with archive.open(entry) as file:
        header = read_npy_header(file, entry.file_size)
        content = bytearray(header.num_bytes)
        room, done = memoryview(content), 0
        while done < len(content):
            part = file.read(min(_CHUNK, len(content) - done))
            if not part:
                raise BadNpy("it is truncated")
            room[done : done + len(part)] = part
            done += len(part)
        while file.read(_CHUNK):
            pass  # the checksum is verified at the end
    return header, content
