"""Text in lines that fit a terminal."""

from __future__ import annotations

import pytest

from nnrun.base.paragraphs import LEAST, paragraph, row, terminal_columns


def test_a_line_ends_between_words_and_no_number_is_broken() -> None:
    lines = paragraph("a learning rate of 1.0e-3 and 60,000 samples at 1e-05", 24, "  ", "    ")
    assert lines == ["  a learning rate of", "    1.0e-3 and 60,000", "    samples at 1e-05"]


def test_a_word_that_does_not_fit_stays_whole() -> None:
    assert paragraph("outputs/2026-11-23/14-03-22_cnn_digits is it", 24) == [
        "outputs/2026-11-23/14-03-22_cnn_digits",
        "is it",
    ]


def test_what_is_said_of_a_word_stands_beside_it_where_there_is_room() -> None:
    """Negative control: on a narrow terminal, or after a long word, it is below."""
    assert row("seed=0", "one two", (10, 20), 40) == ["  seed=0    one two"]
    assert row("seed=0", "one two", (10, 20), 30) == ["  seed=0", "      one two"]
    assert row("trainer.epochs=40", "one two", (10, 20), 40) == ["  trainer.epochs=40", " " * 12 + "one two"]
    assert row("seed=0", "", (10, 20), 40) == ["  seed=0"]


@pytest.mark.parametrize(("told", "columns"), [("60", 60), ("1", LEAST), ("0", 120)])
def test_a_terminal_is_as_wide_as_it_says_but_wide_enough(
    told: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", told)
    assert terminal_columns() == columns
