"""logger=csv: the values of metrics.jsonl as one table, after a resume too."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from support.small_runs import STOPS, manifest, resume, train


def table(run: Path) -> dict[tuple[int, str], float]:
    """The cells of metrics.csv that are not empty."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(set(steps)), "one row for each step"
    return {(int(row["step"]), name): float(v) for row in rows for name, v in row.items() if name != "step" and v}


def logged(run: Path) -> dict[tuple[int, str], float]:
    """The values of metrics.jsonl; the test's are at the last step."""
    found: dict[tuple[int, str], float] = {}
    newest = 0
    for line in (run / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        newest, split = max(newest, row.pop("step")), row.pop("split")
        del row["epoch"]
        found |= {(newest, f"{split}/{name}"): value for name, value in row.items()}
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("csv") / "run"
    assert train(run, "logger=csv", stop=STOPS["mid-epoch"]) == 143
    return run


def test_the_table_is_metrics_jsonl_after_a_resume_that_lost_rows_of_the_table(run: Path) -> None:
    """The process may end before its thread has written what the newest checkpoint counts; and lines after it come
    again. The wrong value that is put into the table, and is gone, is the negative control."""
    before = table(run)
    assert before == logged(run)
    first, *rows = (run / "metrics.csv").read_text().splitlines()
    wrong = rows[1].replace(",", ",9", 1)
    (run / "metrics.csv").write_text("\n".join([first, rows[0], wrong]) + "\n")
    (run / "checkpoints" / manifest(run)["last"]).write_bytes(b"")
    assert resume(run) == 0
    assert table(run) == logged(run)
    assert len(table(run)) > len(before)
    assert {name for _, name in table(run)} >= {"train/loss", "valid/accuracy", "test/accuracy"}
