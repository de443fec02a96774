"""Zip files that grow, lie or show two faces."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence

from nnrun.archive import MAX_PICKLE_BYTES
from nnrun.doctor.strangers.kind import Bench, Hostile, packed
from nnrun.doctor.strangers.torch_zip import PICKLE, ZIP64, pack, patched, torch_entries, two_archives
from nnrun.doctor.strangers.values import called, calling


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


def save_two(bench: Bench, hidden: bytes) -> None:
    """Make a zip file of two archives: a whole checkpoint, and one with another pickle."""
    entries = torch_entries(bench.good)
    archives = []
    for data in (entries["data.pkl"], hidden.ljust(len(entries["data.pkl"]), b".")):
        pack(bench.path, entries | {"data.pkl": data})
        archives.append(bench.path.read_bytes())
    bench.path.write_bytes(two_archives(*archives))


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
    "a version of tomorrow": packed(lambda bench: torch_entries(bench.good) | {"version": b"999999999999"}),
}
