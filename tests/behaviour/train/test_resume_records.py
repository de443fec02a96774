"""What was typed and where it ran stays written down when a run is resumed: a record is added for each time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from support.small_runs import STOPS, resume, status, train


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict]:
    """A run that was resumed twice; what it had written down before."""
    run = tmp_path_factory.mktemp("records") / "run"
    assert train(run, "seed=3", stop=2) == 143
    before = (run / "overrides.yaml").read_text(), json.loads((run / "environment.json").read_text())
    assert resume(run, stop=5) == 143
    assert resume(run, "logger=none") == 0
    return (run, *before)


def test_what_was_typed_stays_and_each_resume_adds_its_words(twice: tuple[Path, str, dict]) -> None:
    """A reader of the old form, a list of what was typed, finds that first."""
    run, typed, _ = twice
    assert (run / "overrides.yaml").read_text().startswith(typed)
    *words, first, second = yaml.safe_load((run / "overrides.yaml").read_text())
    assert words == yaml.safe_load(typed)
    assert "seed=3" in words
    assert [record["step"] for record in (first, second)] == [record["step"] for record in status(run)["resumed"]]
    assert [record["words"] for record in (first, second)] == [[f"resume={run}"], [f"resume={run}", "logger=none"]]


def test_the_environment_of_the_start_stays_and_each_resume_adds_its_own(twice: tuple[Path, str, dict]) -> None:
    run, _, before = twice
    now = json.loads((run / "environment.json").read_text())
    records = now.pop("resumed")
    assert now == before
    assert [set(record) - set(before) for record in records] == [{"at", "step"}] * 2
    assert all(record["versions"] == before["versions"] for record in records)


def test_a_run_with_nothing_typed_and_one_whose_files_are_lost_can_be_resumed(tmp_path: Path) -> None:
    """Its files are what people read, and no run depends on them."""
    run = tmp_path / "run"
    assert train(run, stop=STOPS["mid-epoch"]) == 143
    (run / "overrides.yaml").write_text("[]\n")
    (run / "environment.json").write_text("{ torn")
    assert resume(run) == 0
    (record,) = yaml.safe_load((run / "overrides.yaml").read_text())
    assert record["words"] == [f"resume={run}"]
    assert "versions" in json.loads((run / "environment.json").read_text())
