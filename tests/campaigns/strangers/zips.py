"""Zip files that grow, lie or show two faces."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence

from campaigns.strangers.kind import Bench, Hostile, packed
from campaigns.strangers.torch_zip import (
    PICKLE,
    ZIP64,
    pack,
    patched,
    relocated,
    torch_entries,
    two_archives,
    two_ends,
)
from campaigns.strangers.values import called, calling
from nnrun.checkpoints.read import MAX_PICKLE_BYTES


def zipped(change: Callable[[bytes], bytes], codes: Sequence[int] = (4,)) -> Hostile:
    """Make a checkpoint the zip file of which is changed."""

    def write(bench: Bench) -> None:
        pack(bench.path, torch_entries(bench.good))
        bench.path.write_bytes(change(bench.path.read_bytes()))

    return Hostile(write, codes=tuple(codes))


def add_twice(bench: Bench) -> None:
    """Make a zip file in which the pickle comes twice: a whole one, and one that calls."""
    evil = calling(bench)
    bench.save()
    with zipfile.ZipFile(bench.path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        archive.writestr(name, evil)


def add_entry(name: Callable[[Bench], str], content: Callable[[Bench], bytes], codes: Sequence[int] = (4,)) -> Hostile:
    """Make a checkpoint with one more entry; torch names the others `stranger/...`, as the file."""

    def write(bench: Bench) -> None:
        bench.save()
        with zipfile.ZipFile(bench.path, "a") as archive:
            archive.writestr(name(bench), content(bench))

    return Hostile(write, codes=tuple(codes))


def inserted(content: bytes, more: bytes) -> bytes:
    """Return a zip file with bytes before its list of entries, which then lies behind them."""
    start = content.index(b"PK\1\2")
    at = struct.pack("<I", start + len(more))
    return content[:start] + more + content[start:-6] + at + content[-2:]


def save_two(bench: Bench, hidden: bytes, make: Callable[[bytes, bytes], bytes] = two_archives) -> None:
    """Make a zip file of two archives: a whole checkpoint, and one with another pickle."""
    entries = torch_entries(bench.good)
    archives = []
    for data in (entries["data.pkl"], hidden.ljust(len(entries["data.pkl"]), b".")):
        pack(bench.path, entries | {"data.pkl": data})
        archives.append(bench.path.read_bytes())
    bench.path.write_bytes(make(*archives))


ZIPS = {
    "the pickle twice": Hostile(add_twice),
    "a second pickle": add_entry(lambda _: "stranger/more/data.pkl", calling),
    "a pickle in capitals": add_entry(lambda _: "stranger/DATA.PKL", calling),
    # Nothing is unpacked: to leave such an entry alone is as good as to refuse it.
    "an absolute path": add_entry(lambda bench: str(bench.canary), lambda _: b"", (0, 4)),
    "a path that climbs": add_entry(lambda _: "../canary", lambda _: b"", (0, 4)),
    "a pickle of another name": packed(lambda bench: {"xdata.pkl": calling(bench), "version": b"3"}),
    "compressed": packed(lambda bench: torch_entries(bench.good), zipfile.ZIP_DEFLATED),
    "a deflate bomb": packed(lambda bench: torch_entries(bench.good) | {"data/0": bytes(2**26)}, zipfile.ZIP_DEFLATED),
    "a pickle of 100 MB, it says": zipped(
        lambda content: patched(content, 20, struct.pack("<II", *[10**8] * 2), PICKLE)
    ),
    "a pickle of 10 bytes, it says": zipped(lambda content: patched(content, 20, struct.pack("<II", 10, 10), PICKLE)),
    "a pickle too long": packed(lambda _: {"data.pkl": b"N" * (MAX_PICKLE_BYTES + 1) + b"."}),
    "entries of 2 GB, they say": zipped(lambda content: patched(content, 20, struct.pack("<II", *[2**31] * 2))),
    "entries in one place": zipped(lambda content: patched(content, 42, struct.pack("<I", 0))),
    "entries behind the end": zipped(lambda content: patched(content, 42, struct.pack("<I", 2**31))),
    "an encrypted pickle": zipped(lambda content: patched(content, 8, b"\1\0", PICKLE)),
    "an unknown compression": zipped(lambda content: patched(content, 10, b"\x63\0", PICKLE)),
    "zip64 nonsense": zipped(lambda content: content[:-22] + ZIP64 + content[-22:]),
    "a directory of 4 GB, it says": zipped(lambda content: content[:-14] + b"\xff" * 12 + content[-2:]),
    # What is in the zip file is whole: to read it is as good as to refuse it.
    "something in front": zipped(lambda content: b"#!/bin/sh\n" + content, (0, 4)),
    "something behind": zipped(lambda content: content + b"\n#", (0, 4)),
    "5,000 entries": packed(lambda bench: {f"data/{number}": b"" for number in range(5_000)} | called(bench)),
    "two archives, one without parts": Hostile(lambda bench: save_two(bench, pickle.dumps({}, 2))),
    "two archives, one without progress": Hostile(
        lambda bench: save_two(bench, torch_entries(bench.good | {"training": {}})["data.pkl"])
    ),
    "two archives, one that calls": Hostile(lambda bench: save_two(bench, calling(bench))),
    "two zip64 records": Hostile(lambda bench: save_two(bench, calling(bench), two_ends)),
    "a comment": zipped(lambda content: content[:-2] + struct.pack("<H", 4) + b"more"),
    "a comment that is an end": zipped(lambda content: content[:-2] + struct.pack("<H", 22) + content[-22:]),
    "a header of another name": zipped(lambda content: relocated(content, 30, b"Archive", PICKLE)),
    "a header of another size": zipped(lambda content: relocated(content, 22, struct.pack("<I", 10), PICKLE)),
    "a header of another compression": zipped(lambda content: relocated(content, 8, b"\x08\0", PICKLE)),
    "a header of another CRC": zipped(lambda content: relocated(content, 14, b"abcd", PICKLE)),
    "a header that is encrypted": zipped(lambda content: relocated(content, 6, b"\1\0", PICKLE)),
    "an entry on another disk": zipped(lambda content: patched(content, 34, b"\1\0", PICKLE)),
    "an entry with a comment": zipped(lambda content: patched(content, 32, b"\1\0", PICKLE)),
    "an end on another disk": zipped(lambda content: content[:-18] + b"\1\0" + content[-16:]),
    "fewer entries than there are": zipped(lambda content: content[:-14] + b"\1\0\1\0" + content[-10:]),
    "something between the entries": zipped(lambda content: inserted(content, b"more")),
    "the order of another machine": packed(lambda bench: torch_entries(bench.good) | {"byteorder": b"big"}),
    "an order of nobody": packed(lambda bench: torch_entries(bench.good) | {"byteorder": b"x" * 100}),
    "a version of no number": packed(lambda bench: torch_entries(bench.good) | {"version": b"\xff"}),
    "a version of yesterday": packed(lambda bench: torch_entries(bench.good) | {"version": b"0"}),
    "a version of tomorrow": packed(lambda bench: torch_entries(bench.good) | {"version": b"999999999999"}),
}
