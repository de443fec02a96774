"""The line of an epoch says what all of its steps came to, also where the run was stopped in its midst."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support.small_runs import assert_same_bits, resume, tamper

# Samples in the batches of an epoch: a row comes after every two of them.
SAMPLES = {2: 60, 4: 60, 0: 43}


def lines(run: Path) -> dict[int, dict[str, float]]:
    """What run.log says of each epoch."""
    found = re.findall(r"^epoch +(\d+)  step .*$", (run / "run.log").read_text(), flags=re.M)
    texts = re.findall(r"^epoch +\d+  step .*$", (run / "run.log").read_text(), flags=re.M)
    figures = [dict(re.findall(r"((?:train|valid)/\w+) ([\d.]+)", text)) for text in texts]
    return {
        int(epoch): {name: float(value) for name, value in row.items()}
        for epoch, row in zip(found, figures, strict=True)
    }


def means(run: Path, epoch: int, name: str) -> float:
    """The mean over an epoch's samples, from the rows of its parts."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    parts = [(row[name], SAMPLES[row["step"] % 6]) for row in rows if (row["epoch"], row["split"]) == (epoch, "train")]
    assert sum(samples for _, samples in parts) == 163
    return sum(value * samples for value, samples in parts) / 163


@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize("name", ["loss", "accuracy"])
def test_the_line_has_the_means_of_the_epoch(whole: Path, epoch: int, name: str) -> None:
    """Negative control: the row of its last steps has other figures."""
    said = lines(whole)[epoch][f"train/{name}"]
    assert said == pytest.approx(means(whole, epoch, name), abs=1e-4)
    last = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert any(abs(row[name] - said) > 1e-3 for row in last if (row["epoch"], row["split"]) == (epoch, "train"))


def test_a_run_stopped_in_the_midst_of_an_epoch_says_the_same(whole: Path, stopped: Path) -> None:
    assert resume(stopped) == 0
    assert_same_bits(stopped, whole)
    assert lines(stopped) == lines(whole)


def test_of_an_older_checkpoint_the_epoch_under_way_is_not_known_and_nothing_is_claimed(
    whole: Path, stopped: Path
) -> None:
    tamper(stopped, lambda training: training.pop("epoch_sums"))
    assert resume(stopped) == 0
    said, whole_said = lines(stopped), lines(whole)
    assert set(said[2]) == {"valid/loss", "valid/accuracy"}
    assert said[2].items() <= whole_said[2].items()
    assert said[3] == whole_said[3]
    assert (stopped / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
