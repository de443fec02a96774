"""The idx format (http://yann.lecun.com/exdb/mnist): arrays of numbers, the format of MNIST.

Two zero bytes, the type of a value (8: uint8), the number of dimensions, each dimension as four bytes, big-endian, then
the values.
"""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy

from nnrun.base.files import check_is_file

UINT8_MARK = 8
PACKED_SUFFIX = ".gz"
# The limit of deflate: a header that claims more is refused before memory is allocated.
MAX_GZIP_RATIO = 1032


class IdxArray(NamedTuple):
    """The content of an idx file: its raw header, its values, and their shape."""

    header: bytes
    values: numpy.ndarray[Any, numpy.dtype[numpy.uint8]]
    shape: tuple[int, ...]


def idx_magic(num_dims: int) -> bytes:
    """Return the first four bytes of an idx file of uint8."""
    return bytes((0, 0, UINT8_MARK, num_dims))


def open_idx(path: Path) -> IO[bytes]:
    """Open an idx file, plain or, by its suffix, `.gz`."""
    check_is_file(path)
    return cast(IO[bytes], gzip.open(path)) if path.suffix == PACKED_SUFFIX else path.open("rb")


def read_idx_array(path: Path, num_dims: int) -> IdxArray:
    """Return the content of an idx file of uint8; raise ValueError with the reason where it is damaged.

    Reading may also raise OSError, EOFError, and zlib.error for a `.gz`.
    """
    with open_idx(path) as file:
        header = file.read(4 + 4 * num_dims)
        magic = idx_magic(num_dims)
        if header[:4] != magic:
            raise ValueError(f"it starts with {header[:4].hex() or 'nothing'}, not with {magic.hex()}")
        if len(header) < 4 + 4 * num_dims:
            raise ValueError("it ends inside its header")
        shape = struct.unpack(f">{num_dims}I", header[4:])
        num_values = math.prod(shape)
        if num_values == 0:
            raise ValueError(f"it has no samples (its header says {shape})")
        size_bytes = path.stat().st_size
        most = size_bytes * MAX_GZIP_RATIO if path.suffix == PACKED_SUFFIX else size_bytes
        # Not filled with zeros first, and in huge pages: a third of the time of a bytearray.
        values = numpy.empty(num_values if num_values <= most else 0, numpy.uint8)
        num_read = cast(Any, file).readinto(values)
        if num_read < num_values:
            raise ValueError(f"its header states {num_values:,} values, but the file has fewer")
        if file.read(1):
            raise ValueError(f"its header states {num_values:,} values, but the file has more")
    return IdxArray(header, values, shape)
