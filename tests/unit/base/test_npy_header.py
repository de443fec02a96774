"""Headers of .npy files: all that numpy writes is read, to the bit, and nothing else is believed."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnrun.base.errors import DataError
from nnrun.base.npy_header import BadNpy, read_npy_entry, read_npy_header
from nnrun.components.data.array_files import Array
from nnrun.runs.samples import array_in

TYPES = ["|b1", "|u1", "|i1", "<u2", ">u2", "<i4", "<i8", ">f8", "<f2", "<f4", "<f16", "<c8", "<c16"]
TYPES += ["<U3", ">U2", "|S5", "|V3", "<M8[ns]", "<M8[25s]", "<m8[D]"]
SHAPES = st.lists(st.integers(0, 4), max_size=4)
FEW = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FEW
@given(
    kind=st.sampled_from(TYPES),
    shape=SHAPES,
    is_fortran=st.booleans(),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)
def test_each_array_that_numpy_writes_is_read_to_the_bit(tmp_path, kind, shape, is_fortran, version):
    count, dtype = int(np.prod(shape)), np.dtype(kind)
    array = np.frombuffer(bytes(i % 251 for i in range(count * dtype.itemsize)), dtype) if count else np.empty(0, dtype)
    if dtype.kind in "bU":
        array = (np.arange(count) % 2).astype(dtype)
    array = array.reshape(shape, order="F" if is_fortran else "C")
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, version)
    archives = {"stored": np.savez, "deflated": np.savez_compressed}
    for name, save in archives.items():
        save(tmp_path / f"{name}.npz", x=array)
    for read in (Array(path).open(), *(Array(tmp_path / f"{name}.npz", "x").open() for name in archives)):
        assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert read.flags.writeable


def npy(text: str, values: bytes = bytes(64), version: bytes = b"\1\0") -> bytes:
    length = len(text).to_bytes(2 if version == b"\1\0" else 4, "little")
    return b"\x93NUMPY" + version + length + text.encode("latin1") + values


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "{'shape': (2L, 3L), 'fortran_order': False, 'descr': '<f4'}",
        '{"descr":"<f4","fortran_order":False,"shape":(2,3)}',
    ],
    ids=["numpy", "Python 2 in another order", "another writer"],
)
def test_a_header_may_be_written_otherwise(text):
    header = read_npy_header(io.BytesIO(npy(text)), 1000)
    assert header[:3] == ("<f4", (2, 3), False)
    assert header.num_bytes == 24


WRONG = {
    "nothing": (b"", "does not begin"),
    "another format": (b"PK\3\4" + bytes(60), "does not begin"),
    "a newer version": (npy(GOOD, version=b"\4\0"), "unknown"),
    "cut in its header": (npy(GOOD)[:40], "inside its header"),
    "nested": (npy("{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 5000), "not a description"),
    "an expression": (
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': " + "-" * 9000 + "1}"),
        "not a description",
    ),
    "a very long one": (npy(" " * 60_000), "too long"),
    "a key twice": (npy(GOOD.replace("{", "{'shape': (1,), ")), "not a description"),
    "a key too few": (npy("{'descr': '<f4', 'shape': (2,)}"), "not a description"),
    "a key too many": (npy(GOOD.replace("{", "{'more': 1, ")), "not a description"),
    "a number for a shape": (npy(GOOD.replace("(2, 3)", "(2)")), "shape"),
    "a negative length": (npy(GOOD.replace("(2, 3)", "(-2,)")), "not a description"),
    "more than there is": (npy(GOOD.replace("(2, 3)", "(1000000000000,)")), "4,000,000,000,000 bytes"),
    "more than memory has": (npy(GOOD.replace("(2, 3)", "(0, 99999999999999999999)")), "too large"),
    "many dimensions": (npy(GOOD.replace("(2, 3)", f"({'1,' * 65})")), "shape"),
    "objects": (npy(GOOD.replace("<f4", "|O")), "Python objects"),
    "values of no size": (npy(GOOD.replace("<f4", "|V0").replace("(2, 3)", "(9999999999999,)")), "no size"),
    "fields": (npy(GOOD.replace("'<f4'", "[('a', '<f4')]")), "fields"),
    "a type of many": (npy(GOOD.replace("<f4", "i4,i4")), "not one of numbers"),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_header_is_refused(name, tmp_path):
    content, what = WRONG[name]
    with pytest.raises(BadNpy, match=what):
        read_npy_header(io.BytesIO(content), len(content))
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.npy cannot be read as an array: .*{what}"):
        Array(path).open()


def test_an_array_that_claims_more_than_its_archive_can_hold_is_refused():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(GOOD))
    with zipfile.ZipFile(packed) as archive:
        entry = archive.getinfo("x.npy")
        assert read_npy_entry(archive, entry)[0].shape == (2, 3)  # control
        entry.file_size = 2**40
        with pytest.raises(BadNpy, match="claims 1,099,511,627,776 bytes"):
            read_npy_entry(archive, entry)


def test_an_array_of_an_archive_has_its_order(tmp_path: Path) -> None:
    values = np.arange(6.0).reshape(2, 3)
    np.savez(tmp_path / "a.npz", rows=values, columns=np.asfortranarray(values))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        for name in ("rows.npy", "columns.npy"):
            np.testing.assert_array_equal(array_in(archive, archive.getinfo(name)), values)
