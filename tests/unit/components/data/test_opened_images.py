"""Images in memory are read as those in files; errors while data is read name it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from nnrun.base.errors import DataError
from nnrun.components.data.images import decode_sample, read_kind
from nnrun.components.data.opened_images import Cell, reading


class PanicException(BaseException):
    """What polars raises where its own code panics."""


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff"])
def test_an_image_in_memory_is_read_as_its_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    pixels = torch.randint(0, 256, (20, 30, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(pixels.numpy()).save(path, exif=exif)
    cell = Cell("a.parquet, row 1", path.read_bytes())
    of_file, of_cell = decode_sample(path, 3, (8, 8)), decode_sample(cell, 3, (8, 8))
    assert torch.equal(of_file.pixels, of_cell.pixels)
    assert (of_file.kind, of_file.original) == (of_cell.kind, of_cell.original)
    assert read_kind(cell) == read_kind(path)


def test_a_panic_is_an_error_of_the_file_and_an_interrupt_is_none() -> None:
    with pytest.raises(DataError, match=r"a\.arrow is damaged"), reading(Path("a.arrow")):
        raise PanicException("range end index 1 out of range")
    with pytest.raises(KeyboardInterrupt), reading(Path("a.arrow")):
        raise KeyboardInterrupt
