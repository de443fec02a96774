"""What docs/extending.md shows works as it stands, in a folder with nothing in it but what the page says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import nnrun
from support.command_line import Outcome, run_here, write_files
from support.small_runs import STEPS, STOPS, WORDS, manifest, stop_at, summary

PAGE = (Path(nnrun.__file__).parents[2] / "docs" / "extending.md").read_text()
# A path that ends a paragraph, and the block below it.
FILES = dict(re.findall(r"`([^`\n]+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^    (nnrun \w+=.*)", PAGE, re.MULTILINE)]


def go(folder: Path, *words: str, stop: int | None = None) -> Outcome:
    write_files(folder, FILES)
    with stop_at(stop):
        return run_here([*WORDS, *words, "hydra.run.dir=run"] if "resume=run" not in words else words, folder)


def rows(run: Path) -> Iterator[dict]:
    return map(json.loads, (run / "metrics.jsonl").read_text().splitlines())


def test_the_page_shows_a_callback_and_a_logger() -> None:
    assert list(FILES) == ["mine.py", "conf/callback/mine.yaml", "lines.py", "conf/logger/lines.yaml"]
    assert COMMANDS == [["callback=mine", "callback.mine.loss=0.5"], ["logger=lines"]]


@pytest.mark.parametrize("words", COMMANDS)
def test_its_commands_are_right(words: list[str], tmp_path: Path) -> None:
    outcome = go(tmp_path, *words, "trainer.epochs=1")
    assert (outcome.code, outcome.err) == (0, "")


def test_the_callback_logs_and_stops(tmp_path: Path) -> None:
    """With a loss that is not reached it logs all the same, and does not stop: the negative control."""
    for loss, epochs, reason in ((1e9, 2, "valid/loss was 1000000000.0 or less 2 times in a row"), (1e-9, 3, None)):
        (tmp_path / str(loss)).mkdir()
        outcome = go(tmp_path / str(loss), "callback=mine", f"callback.mine.loss={loss}")
        run = tmp_path / str(loss) / "run"
        assert outcome.code == 0, outcome.err
        assert summary(run)["train"]["stop_reason"] == reason
        norms = [row for row in rows(run) if row["split"] == "weights"]
        assert [(row["step"], row["epoch"]) for row in norms] == [(STEPS * n, n) for n in range(1, epochs + 1)]
        assert all(row["norm"] > 1 for row in norms)


def test_the_callback_goes_on_counting_where_the_run_was_stopped(tmp_path: Path) -> None:
    """One epoch before the stop and one behind it: without its state it would need two more."""
    words = ("callback=mine", "callback.mine.loss=1e9")
    assert go(tmp_path, *words, stop=STOPS["mid-epoch"]).code == 143
    outcome = go(tmp_path, "resume=run", "trust=[mine]")
    assert outcome.code == 0, outcome.err
    assert summary(tmp_path / "run")["train"]["epochs"] == 2


def test_the_logger_has_every_value_once_though_the_run_fell_back(tmp_path: Path) -> None:
    assert go(tmp_path, "logger=lines", stop=STOPS["mid-epoch"]).code == 143
    run = tmp_path / "run"
    (run / "checkpoints" / manifest(run)["last"]).write_bytes(b"")
    outcome = go(tmp_path, "resume=run", "trust=[lines]")
    assert outcome.code == 0, outcome.err
    lines = [line.split() for line in (run / "lines.txt").read_text().splitlines()]
    wanted = [
        (row["step"] if row["split"] != "test" else 3 * STEPS, f"{row['split']}/{name}", value)
        for row in rows(run)
        for name, value in row.items()
        if name not in ("step", "epoch", "split")
    ]
    assert [(int(step), name, float(value)) for step, name, value in lines[:-1]] == wanted
    assert lines[-1] == [str(3 * STEPS), "finished", "0"]
