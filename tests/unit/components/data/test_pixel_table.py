"""A table of pixels with a column of labels: read to the value, split as any arrays, and what is none of these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nnrun.base.errors import DataError
from nnrun.components.data.arrays import Arrays
from nnrun.components.data.pixel_table import read_pixel_table

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 9), dtype=np.uint8)
LABELS = np.arange(40) % 4
TITLES = ["label", *(f"pixel{number}" for number in range(9))]


def write(path: Path, titles: list[str], rows: list[list[object]], end: str = "\n") -> Path:
    lines = [",".join(map(str, row)) for row in [titles, *rows]]
    path.write_text(end.join([*lines, ""]), encoding="utf-8-sig", newline="")
    return path


def rows(labels: list[object]) -> list[list[object]]:
    return [[label, *row] for label, row in zip(labels, PIXELS.tolist(), strict=True)]


def test_it_is_read_as_the_arrays_that_it_holds(tmp_path: Path) -> None:
    """As `x` and `y` of an archive of the same values, whose split is the same; lines may end as Windows has them."""
    table = write(tmp_path / "train.csv", TITLES, rows(LABELS.tolist()), "\r\n")
    np.savez(tmp_path / "same.npz", x=PIXELS.reshape(40, 3, 3), y=LABELS)
    found, same = (
        Arrays(str(root), "auto", None, 0, "content", None, None).load() for root in (table, tmp_path / "same.npz")
    )
    assert found.targets == same.targets
    for ours, theirs in ((found.train, same.train), (found.test, same.test)):
        every = torch.arange(len(theirs))
        assert torch.equal(ours.take(every)[0], theirs.take(every)[0])
        assert torch.equal(ours.targets, theirs.targets)
    assert found.in_shape == (1, 3, 3)


def test_labels_may_be_texts_and_in_any_column(tmp_path: Path) -> None:
    names = [("cat", "dog, or wolf")[number % 2] for number in range(40)]
    lines = [[*row, f'"{name}"'] for name, row in zip(names, PIXELS.tolist(), strict=True)]
    found = read_pixel_table(write(tmp_path / "t.csv", [*TITLES[1:], "Class"], lines), "")
    assert found["y"].tolist() == names
    assert np.array_equal(found["x"], PIXELS.reshape(40, 3, 3))


def test_a_hash_in_a_label_begins_no_comment(tmp_path: Path) -> None:
    names = [("c#", "#")[number % 2] for number in range(40)]
    found = read_pixel_table(write(tmp_path / "t.csv", TITLES, rows(names)), "")
    assert found["y"].tolist() == names


@pytest.mark.parametrize(
    ("titles", "lines", "says"),
    [
        (TITLES[1:], [[1] * 9], "has no column label; "),
        (["label", "y", *TITLES[1:]], [[1] * 11], "has more than one column label; "),
        (TITLES[:-1], [[1] * 9], "8 columns besides label, not the pixels of a square image"),
        (TITLES, [[1] * 9 + [256]], "pixels are integers from 0 to 255"),
        (TITLES, [[1] * 9 + [0.5]], "pixels are integers from 0 to 255"),
        # A value too many shifts what follows, and numpy reads such a line without a word.
        (TITLES, [[1] * 10, [1] * 11], "line 3 has 11 values, but the header line has 10"),
        (TITLES, [[1] * 10, [1] * 9], "line 3 has 9 values, but the header line has 10"),
        (TITLES, [['"a,b"', *[1] * 10]], "line 2 has 11 values, but the header line has 10"),
        (TITLES, [], "has a header line but no images"),
        ([], [], "has no column label"),
    ],
)
def test_what_is_no_table_of_pixels_is_an_error(titles, lines, says, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"t.csv.*{says}"):
        read_pixel_table(write(tmp_path / "t.csv", titles, lines), "")


def test_a_file_that_is_not_there_and_one_in_a_folder_are_said(tmp_path: Path) -> None:
    arrays = Arrays(str(tmp_path / "train.csv"), "auto", None, 0, "content", None, None)
    with pytest.raises(DataError, match=r"data\.root=.*train\.csv cannot be read: No such file"):
        arrays.load()
    write(tmp_path / "train.csv", TITLES, rows(LABELS.tolist()))
    with pytest.raises(DataError, match=r"no arrays; .*; to read the table, use data\.root=.*train\.csv"):
        Arrays(str(tmp_path), "auto", None, 0, "content", None, None).load()
