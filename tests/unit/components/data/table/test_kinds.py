"""Numbers are found however they are written, and words that look like some stay words."""

from __future__ import annotations

import polars as pl
import pytest

from nnrun.components.data.table.kinds import cells_of


@pytest.mark.parametrize(
    ("cells", "kind", "written"),
    [
        (["red", "blue", "a1", "red"], "category", ""),
        (["1st", "2nd", "10th", "1st"], "category", ""),
        (["-", "+", "-", "+"], "category", ""),
        (["1,234", "5", "12,345.5", None], "number", "1,234.5"),
        (["1.234,5", "-5,25", "7,5", None], "number", "1.234,5"),
        (["1 234,5", "1'234", "3", None], "number", "1 234,5"),
    ],
)
def test_the_kind_of_a_column_of_text(cells: list[str | None], kind: str, written: str) -> None:
    found = cells_of(pl.Series("x", cells), None, has_decimal_commas=False)
    assert (found.kind, found.written) == (kind, written)


def test_one_word_among_numbers_is_named_and_half_of_them_are_categories() -> None:
    """Whether the numbers are written plainly or not."""
    for numbers in ([f"{place}.5" for place in range(99)], [f"1,{place:03}" for place in range(99)]):
        found = cells_of(pl.Series("x", [*numbers, "many"]), None, has_decimal_commas=False)
        assert (found.kind, found.wrong) == ("number", 99)
        mixed = cells_of(pl.Series("x", [*numbers, *["many"] * 100]), None, has_decimal_commas=False)
        assert (mixed.kind, mixed.wrong) == ("category", None)
