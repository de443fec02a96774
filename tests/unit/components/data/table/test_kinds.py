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
        (["12 %", "-5%", "7.5 %", None], "number", "12.5%"),
        (["$1,200.50", "-$5", "$ 7", None], "number", "$1,234.5"),
        (["\u20ac 5", "\u20ac7,5", None], "number", "\u20ac1.234,5"),
        (["1\u00a0200,5 kr", "7 kr", "8\u00a0kr"], "number", "1 234,5 kr"),
        (["USD 5", "USD 7.5", "USD\u00a08"], "number", "USD 12.5"),
        (["5-10%", "10-20%", "5-10%"], "category", ""),
        (["A5", "B6", "USD"], "category", ""),
    ],
)
def test_the_kind_of_a_column_of_text(cells: list[str | None], kind: str, written: str) -> None:
    found = cells_of(pl.Series("x", cells), None, has_decimal_commas=False)
    assert (found.kind, found.written) == (kind, written)


@pytest.mark.parametrize(
    ("cells", "signs"),
    [(["$5", "\u20ac5", "$7"], "$ and \u20ac"), (["5%", "0.5", "7%"], "% and no sign"), (["5%", "many", "few"], "")],
)
def test_numbers_of_different_units_stay_categories_which_is_said(cells: list[str], signs: str) -> None:
    """A few words among them are categories without a note: the negative control."""
    found = cells_of(pl.Series("x", cells), None, has_decimal_commas=False)
    assert (found.kind, found.signs) == ("category", signs)
    set_so = cells_of(pl.Series("x", cells), "number", has_decimal_commas=False)
    assert set_so.wrong == 1, "the first that is not like the first"


@pytest.mark.parametrize(
    ("written", "cells", "values"),
    [
        ("$1,234.5", ["$1,000", "$2"], [1000.0, 2.0]),
        ("$1,234.5", ["1,000.5", "2"], [1000.5, 2.0]),
        ("12.5%", ["5 %", "7%"], [5.0, 7.0]),
        ("\u20ac1.234,5", ["1.234"], [1234.0]),
        ("\u20ac1.234,5", ["\u20ac 1.234"], [1234.0]),
        ("1.234,5", ["1.234"], [1234.0]),
        ("a way of another version", ["1.5"], [1.5]),
    ],
)
def test_new_cells_are_read_as_those_of_the_training(written: str, cells: list[str], values: list[float]) -> None:
    found = cells_of(pl.Series("x", cells), "number", has_decimal_commas=False, written=written)
    assert (found.values.to_list(), found.wrong) == (values, None)


def test_one_word_among_numbers_is_named_and_half_of_them_are_categories() -> None:
    """Whether the numbers are written plainly or not."""
    for numbers in ([f"{place}.5" for place in range(99)], [f"1,{place:03}" for place in range(99)]):
        found = cells_of(pl.Series("x", [*numbers, "many"]), None, has_decimal_commas=False)
        assert (found.kind, found.wrong) == ("number", 99)
        mixed = cells_of(pl.Series("x", [*numbers, *["many"] * 100]), None, has_decimal_commas=False)
        assert (mixed.kind, mixed.wrong) == ("category", None)
