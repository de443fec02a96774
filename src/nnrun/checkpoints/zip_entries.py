"""A strict reader of the zip files that torch.save writes: it finds each entry and accounts for every byte.

Two readers may see different content in one zip file: through a second list of entries, bytes in front or between, or
contradictory headers. This reader accepts only files with one interpretation, and nothing else reads them.
Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

# An entry of the list takes about 70 bytes: this is enough for 400,000 tensors.
MAX_LIST_BYTES = 32 * 2**20
_END, _LOCATOR, _END64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")
_LISTED, _LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
# Flags: sizes follow the content; names are in UTF-8.
_BEHIND, _UTF8 = 0x8, 0x800
_FULL, _CHUNK = 2**32 - 1, 2**24


class NotZip(Exception):
    """A file does not end as a zip file does."""


class OddZip(Exception):
    """A zip file is not packed as torch.save does it; the message says how it differs."""


@dataclass(frozen=True)
class Region:
    """A range of bytes in a file, and their CRC-32 if the file states one."""

    start: int
    size: int
    crc: int | None = None

    def read(self, file: BinaryIO) -> bytes:
        """Return the bytes; raise OddZip where they are truncated or do not match the CRC."""
        content = bytearray(self.size)
        self.read_into(file, memoryview(content))
        return bytes(content)

    def read_into(self, file: BinaryIO, room: memoryview) -> None:
        """Fill `room`, which is as long as the region, with its bytes; raise OddZip as `read` does."""
        file.seek(self.start)
        crc, done = 0, 0
        while done < self.size:
            part = room[done : done + _CHUNK]
            if file.readinto(part) != len(part):  # type: ignore[attr-defined]
                raise OddZip("the file ends in the middle of an entry")
            crc, done = zlib.crc32(part, crc), done + len(part)
        if self.crc is not None and crc != self.crc:
            raise OddZip("an entry is damaged: its CRC does not match")


@dataclass(frozen=True)
class _Listed:
    """An entry as the list at the end of the file describes it."""

    name: bytes
    flags: int
    crc: int
    size: int
    header_at: int


def entries_of(file: BinaryIO) -> dict[str, Region]:
    """Return the region of each entry's content, by name; raise NotZip or OddZip unless torch.save packs this way.

    That is: uncompressed entries, one after the other from the first byte, each with the same description before its
    content and in the list; then the list and its end record. Raises OSError where the file cannot be read.
    """
    num_bytes = os.fstat(file.fileno()).st_size
    count, list_at, list_bytes = _find_list(file, num_bytes)
    if list_bytes > MAX_LIST_BYTES:
        raise OddZip(f"its list of entries takes {list_bytes:,} bytes, more than the maximum of {MAX_LIST_BYTES:,}")
    listed = list(_read_list(_read_at(file, list_at, list_bytes)))
    if not listed:
        raise NotZip("it has no entries")
    if len(listed) != count:
        raise OddZip("it does not list as many entries as it states")
    found: dict[str, Region] = {}
    end = 0
    for entry, limit in zip(listed, [*(entry.header_at for entry in listed[1:]), list_at], strict=True):
        if entry.header_at != end:
            raise OddZip("its entries overlap or have gaps")
        name = _decoded(entry)
        start = _check_header(file, entry, limit)
        found[name] = Region(start, entry.size, entry.crc or None)
        end = limit
    if end != list_at:
        raise OddZip("there are bytes between its entries and their list")
    if len({name.lower() for name in found}) != count:
        raise OddZip("two of its entries have the same name")
    return found


def _read_at(file: BinaryIO, start: int, size: int) -> bytes:
    """Return bytes of a file; raise OddZip where the file is too short."""
    file.seek(start)
    content = file.read(size)
    if len(content) != size:
        raise OddZip("it is shorter than it states")
    return content


def _find_list(file: BinaryIO, num_bytes: int) -> tuple[int, int, int]:
    """Return the number of entries, and the start and size of their list, which is right before the end record."""
    if num_bytes < _END.size:
        raise NotZip("it is too short")
    end_at = num_bytes - _END.size
    signature, *disks, here, count, list_bytes, list_at, comment = _END.unpack(_read_at(file, end_at, _END.size))
    if signature != b"PK\5\6":
        raise NotZip("it does not end as a zip file does")
    if comment or any(disks) or here != count:
        raise OddZip("its end record has a comment or refers to other volumes")
    locator_at = end_at - _LOCATOR.size
    if locator_at >= 0 and (locator := _read_at(file, locator_at, _LOCATOR.size))[:4] == b"PK\6\7":
        end_at = locator_at - _END64.size
        if end_at < 0 or _LOCATOR.unpack(locator) != (b"PK\6\7", 0, end_at, 1):
            raise OddZip("its two end records contradict each other")
        signature, size, _, _, *disks, here, count64, bytes64, at64 = _END64.unpack(_read_at(file, end_at, _END64.size))
        said = [(count, count64, 2**16 - 1), (list_bytes, bytes64, _FULL), (list_at, at64, _FULL)]
        agrees = all(short in (long, full) for short, long, full in said)
        if signature != b"PK\6\6" or size != _END64.size - 12 or any(disks) or here != count64 or not agrees:
            raise OddZip("its end records contradict each other")
        count, list_bytes, list_at = count64, bytes64, at64
    if list_at + list_bytes != end_at:
        raise OddZip("the list of its entries is not at the stated position")
    return count, list_at, list_bytes


def _read_list(content: bytes) -> Iterator[_Listed]:
    """Yield the entries of the list; raise OddZip for one that torch.save would not write."""
    at = 0
    while at < len(content):
        if at + _LISTED.size > len(content):
            raise OddZip("the list of its entries ends in the middle of one")
        fields = _LISTED.unpack_from(content, at)
        signature, _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes, comment, disk, _, _, start = (
            fields
        )
        at += _LISTED.size
        name, extra = content[at : at + name_bytes], content[at + name_bytes : at + name_bytes + extra_bytes]
        at += name_bytes + extra_bytes
        if signature != b"PK\1\2" or len(extra) != extra_bytes or comment or disk:
            raise OddZip("the list of its entries is malformed")
        if method or flags & ~(_BEHIND | _UTF8):
            raise OddZip("an entry is compressed or encrypted")
        size, packed, start = _long(extra, [size, packed, start])
        if size != packed:
            raise OddZip("an entry has two sizes")
        yield _Listed(name, flags, crc, size, start)


def _long(extra: bytes, values: list[int]) -> list[int]:
    """Return values with those that exceed 32 bits replaced from an entry's extra fields."""
    if _FULL not in values:
        return values
    at, longs = 0, b""
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            longs += extra[at + 4 : at + 4 + size]
        at += 4 + size
    wanted = [index for index, value in enumerate(values) if value == _FULL]
    if len(longs) != 8 * len(wanted):
        raise OddZip("the size of an entry is missing or stated twice")
    for index, value in zip(wanted, struct.unpack(f"<{len(wanted)}Q", longs), strict=True):
        values[index] = value
    return values


def _check_header(file: BinaryIO, entry: _Listed, limit: int) -> int:
    """Return where an entry's content begins; raise OddZip unless its header agrees with the list.

    Between the content and `limit` may be its sizes again, or nothing.
    """
    header = _LOCAL.unpack(_read_at(file, entry.header_at, _LOCAL.size))
    signature, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = header
    name_and_extra = _read_at(file, entry.header_at + _LOCAL.size, name_bytes + extra_bytes)
    if signature != b"PK\3\4" or (flags, method) != (entry.flags, 0) or name_and_extra[:name_bytes] != entry.name:
        raise OddZip("the header of an entry contradicts the list")
    said = (crc, *_long(name_and_extra[name_bytes:], [size, packed]))
    listed = (entry.crc, entry.size, entry.size)
    if said != listed and not (flags & _BEHIND and said == (0, 0, 0)):
        raise OddZip("the size or CRC of an entry differs from the list")
    start = entry.header_at + _LOCAL.size + name_bytes + extra_bytes
    behind = limit - start - entry.size
    if behind < 0:
        raise OddZip("its entries overlap")
    forms = [b""]
    if flags & _BEHIND:
        forms = [
            mark + struct.pack(form, *listed)
            for mark in (b"PK\7\x08", b"")
            for form in ("<3L", "<L2Q")
            if form == "<L2Q" or entry.size < _FULL
        ]
    if behind > 24 or _read_at(file, start + entry.size, behind) not in forms:
        raise OddZip("there are bytes between two of its entries")
    return start


def _decoded(entry: _Listed) -> str:
    """Return the name of an entry; raise OddZip where it is not text."""
    try:
        name = entry.name.decode("utf-8" if entry.flags & _UTF8 else "ascii")
    except UnicodeDecodeError as error:
        raise OddZip("the name of an entry is not text") from error
    if "\0" in name:
        raise OddZip("the name of an entry is not text")
    return name
