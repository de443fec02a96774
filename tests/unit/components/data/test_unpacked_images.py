"""The file with the images of a column: no other process takes it, and a cache that cannot be written is named."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO, Any

import polars as pl
import pytest

from nnrun.base.errors import ResourceError
from nnrun.components.data import unpacked_images
from nnrun.components.data.table.image_columns import columns_of
from nnrun.components.data.unpacked_images import Column, unpacked


@pytest.fixture
def column(tmp_path: Path) -> Column:
    pl.DataFrame({"image": pl.Series([b"one", b"three"], dtype=pl.Binary)}).write_parquet(tmp_path / "p.parquet")
    return columns_of(tmp_path / "p.parquet"), "image", None


def test_a_file_that_another_process_removes_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: Column
) -> None:
    monkeypatch.setenv("NNRUN_CACHE", str(tmp_path / "cache"))
    removed = []

    def flock(file: IO[bytes], how: int) -> None:
        if not removed:
            removed.append(Path(file.name))
            removed[0].unlink()
        fcntl.flock(file, how)

    class Stub:
        LOCK_EX, LOCK_NB = fcntl.LOCK_EX, fcntl.LOCK_NB

    stub: Any = Stub()
    stub.flock = flock
    monkeypatch.setattr(unpacked_images, "fcntl", stub)
    with unpacked([(column, range(2))]) as cells:
        assert removed
        assert [cells.source(index)[1] for index in range(2)] == [b"one", b"three"]  # type: ignore[index]
    assert list((tmp_path / "cache" / "unpacked").iterdir()) == []


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: Column) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NNRUN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ResourceError, match="cannot write the cache"), unpacked([(column, range(2))]):
        pass
