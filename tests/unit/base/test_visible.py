"""Text of a file that a terminal or a spreadsheet would obey is shown instead."""

from __future__ import annotations

import csv
import io
import logging
import sys
import warnings
from dataclasses import fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnrun.assembly.prediction.raw_images import Samples
from nnrun.base.errors import complain
from nnrun.base.foreign_messages import guard_libraries, show_traceback
from nnrun.base.targets import Targets
from nnrun.base.visible import as_cell, distinct, few, visible, visible_lines, wrapped
from nnrun.components.problems.classification import Classification
from nnrun.runs.console import Console
from nnrun.runs.sheet import Sheet
from nnrun.sweeps.table import JobResult, as_csv, as_table
from nnrun.tasks.predict.record import PredictSettings
from nnrun.tasks.predict.table import PredictionFile

# Sets a title, clears the screen, reverses the text after it, starts a line that is not ours, is a lone surrogate.
HOSTILE = "\x1b]0;pwned\x07cat\x9b2J\u202egpj.exe\u2066\nnnrun: all is well\r\t\u2028\x00\udc80"
SEEN = r"\x1b]0;pwned\x07cat\x9b2J\u202egpj.exe\u2066\nnnrun: all is well\r\t\u2028\x00\udc80"


def is_harmless(text: str) -> bool:
    return visible_lines(text) == text


def test_controls_marks_and_line_ends_are_written_as_what_they_are():
    assert visible(HOSTILE) == SEEN
    plain = "é 猫 👩\u200d🚀 ‘x’ \xa0 \\n [red]"
    assert visible(plain) == plain, "the negative control: what people write stays"


@given(st.text())
def test_no_text_reaches_a_terminal_as_a_command(text):
    shown = visible(text)
    assert "\n" not in shown and is_harmless(shown) and visible(shown) == shown
    shown.encode()


def test_the_console_its_log_and_its_tables_show_it(capsys, tmp_path):
    console = Console()
    console.log_to(tmp_path / "run.log")
    console.say(HOSTILE)
    console.note(HOSTILE)
    console.record(HOSTILE)
    sheet = Sheet()
    sheet.add_column(HOSTILE, no_wrap=True)
    sheet.add_row(HOSTILE)
    sheet.add_row("[red]x[/red] [/] [link=file:///]y")
    console.table(sheet)
    console.close()
    log = (tmp_path / "run.log").read_text()
    for text in (capsys.readouterr().out, log):
        assert is_harmless(text)
        assert "[red]x[/red] [/] [link=file:///]y" in text, "and brackets mean nothing"
        assert not [line for line in text.splitlines() if line.startswith("nnrun:")]
    assert log.count(SEEN) >= 3


def test_messages_tracebacks_warnings_and_logs_of_libraries_show_it(capsys, monkeypatch):
    complain([HOSTILE])
    assert capsys.readouterr().err == f"nnrun: {SEEN}\n"
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        show_traceback()
    said = capsys.readouterr().err
    assert "ValueError" in said and is_harmless(said)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    handlers = logging.getLogger("nnrun").handlers
    monkeypatch.setattr(logging.getLogger("nnrun"), "handlers", [])
    guard_libraries()
    assert is_harmless(warnings.formatwarning(HOSTILE, UserWarning, "x.py", 3, ""))
    record = logging.LogRecord("torch.onnx", logging.WARNING, "x.py", 3, "%s", (HOSTILE,), None)
    assert is_harmless(logging.lastResort.format(record))
    assert all(is_harmless(handler.format(record)) for handler in logging.getLogger("nnrun").handlers), handlers
    sys.stderr.flush()


FORMULAS = [
    "=cmd|' /C calc'!A0",
    "+SUM(1,1)",
    "@x",
    "-2+3",
    "=1",
    "\t=1",
    "\r=1",
    " =1",
    "＝1+1",
    "-x.png",
    "+1e",
    "--1",
    "-1 =2",
    "-1  2",
]
VALUES = [
    "",
    "cat",
    "-2",
    "-0.5 1.2",
    "-1 -2e-05 3",
    "+1.5e-3",
    "1e400",
    "a=b",
    "shots/=1.png",
    "'x",
    "0.5",
    3,
    -2.5,
    None,
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_a_text_and_is_whole_behind_the_quote(text):
    assert as_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", VALUES)
def test_numbers_and_other_texts_stay_as_they_are(value):
    """The negative control."""
    assert as_cell(value) == value


def test_a_sweeps_table_holds_no_formula_and_its_screen_no_command():
    result = JobResult(
        0, {"model.name": "=1+1", "x": "[red]\x1b"}, "@dir", 1, "failed", reason="-2+3", metrics={"a": -1.0}
    )
    (row,) = csv.DictReader(io.StringIO(as_csv([result], ["model.name", "x"], ["a"])))
    assert (row["model.name"], row["directory"], row["reason"], row["a"]) == ("'=1+1", "'@dir", "'-2+3", "-1.0")
    table = as_table([result], ["model.name", "x"], [])
    assert "[red]\\x1b" in [str(cell) for column in table.columns for cell in column.cells]


def test_predictions_hold_no_formula_and_count_the_quotes(tmp_path):
    settings = PredictSettings(**dict.fromkeys(field.name for field in fields(PredictSettings)) | {"format": "csv"})
    with PredictionFile(tmp_path, settings, Classification(Targets.classes(["=1+1", "-2"]))) as file:
        images = Samples(["a.png", "@b.png"], [1, 2], torch.zeros(2))
        file.add(images, torch.tensor([[0.5, 0.4], [0.4, 0.5]]))
        file.commit()
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert lines == ["path,class,probability", "a.png,'=1+1,0.5", "'@b.png,-2,0.5"]
    assert file.num_quoted == 2


@pytest.mark.parametrize(
    ("values", "most", "expected"),
    [
        ([], 5, ""),
        (["a", "b"], 2, "a, b"),
        ((1, 2, 3), 2, "1, 2 and 1 more"),
        (range(2000), 1, "0 and 1,999 more"),
        (dict.fromkeys("ab"), 5, "a, b"),
        (["x" * 81], 5, "x" * 80),
    ],
)
def test_a_few_of_many_names_are_shown_and_how_many_more_there_are(values, most, expected):
    assert few(values, most) == expected


def test_titles_of_columns_are_each_there_once() -> None:
    """A label may have the name of one of our columns. Negative control: others are unchanged."""
    assert distinct(["path", "path", "cat", "path_2", "probability_cat"]) == [
        "path",
        "path_2",
        "cat",
        "path_2_2",
        "probability_cat",
    ]
    assert distinct(["path", "class"]) == ["path", "class"]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("a loss of 0.1234 in 5 steps", 40, ["a loss of 0.1234 in 5 steps"]),
        ("a loss of 0.1234 in 5 steps", 14, ["a loss of", "0.1234 in 5", "steps"]),
        # What may be copied is not broken: a long word is left to the terminal, a command gets its own line.
        ("see outputs/2026-11-26/run for it", 12, ["see", "outputs/2026-11-26/run", "for it"]),
        ("next: nnrun export=onnx ckpt=run", 28, ["next:", "nnrun export=onnx ckpt=run"]),
        ("next: nnrun export=onnx ckpt=run; go", 20, ["next:", "nnrun export=onnx \\", "  ckpt=run;", "go"]),
        ("next: nnrun 'ckpt=a b'", 17, ["next:", "nnrun 'ckpt=a b'"]),
        ("epoch   3  step", 12, ["epoch   3", "step"]),
    ],
)
def test_a_line_is_broken_between_words_and_a_command_as_a_shell_takes_it(
    text: str, width: int, expected: list[str]
) -> None:
    assert [line.rstrip() for line in wrapped(text, width).split("\n")] == expected
