"""What trainer.watch and trainer.profile leave of a run, and that its results are those of a run without them."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest
import torch

from support.small_runs import manifest, resume, summary, train

# What only a run that asks for it imports.
LATE = ("nnrun.components.callbacks.watching", "nnrun.components.callbacks.profiling")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without, one with both, and one with both that is stopped and resumed without."""
    folder = tmp_path_factory.mktemp("watched")
    both = ("trainer.watch=all", "trainer.watch_every_steps=4", "trainer.profile=true")
    for name in LATE:
        sys.modules.pop(name, None)
    assert train(folder / "plain") == 0
    (folder / "loaded").write_text(" ".join(sys.modules.keys() & set(LATE)))
    assert train(folder / "both", *both) == 0
    assert train(folder / "stopped", *both, stop=12) == 143
    assert resume(folder / "stopped", "trainer.profile=false") == 0
    return folder


def rows(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(run: Path) -> list[object]:

    entry = manifest(run)
    return [torch.load(run / "checkpoints" / entry[name], weights_only=True)["model"] for name in ("best", "last")]


def test_results_are_those_of_a_run_without(runs: Path) -> None:
    """Weights bit for bit, and the rows. Negative control: the watched run has rows of its own."""

    plain = rows(runs / "plain")
    for name in ("both", "stopped"):
        for ours, theirs in zip(weights(runs / name), weights(runs / "plain"), strict=True):
            assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
        assert [row for row in rows(runs / name) if row["split"] != "watch"] == plain
        assert summary(runs / name)["metrics"] == summary(runs / "plain")["metrics"]
    assert all(not str(key).startswith("watch/") for key in summary(runs / "both")["metrics"])
    watched = [row for row in rows(runs / "both") if row["split"] == "watch"]
    assert [row["step"] for row in watched] == [1, 4, 8, 12, 16]
    resumed = [row for row in rows(runs / "stopped") if row["split"] == "watch"]
    for ours, theirs in zip(resumed, watched, strict=True):
        for name in (ours.keys() | theirs.keys()) - {key for key in ours if key.startswith(("time/", "memory/"))}:
            assert ours[name] == theirs[name], name


def test_the_time_of_each_part_of_the_steps_is_in_the_summary(runs: Path) -> None:
    """Together they are the time of the steps. Negative control: without trainer.watch they are unknown."""
    train_of = summary(runs / "both")["train"]
    assert list(train_of["step_seconds"]) == ["data", "forward", "backward", "metrics", "optimizer"]
    assert sum(train_of["step_seconds"].values()) == pytest.approx(train_of["seconds"])
    assert summary(runs / "plain")["train"]["step_seconds"] == {}


def test_a_profile_has_a_trace_the_costliest_operations_and_the_limit(runs: Path) -> None:
    """No path of this machine is in the trace. A run without a profile imports none of it."""
    folder = runs / "both" / "profile"
    assert sorted(path.name for path in folder.iterdir()) == ["profile.json", "trace.json.gz"]
    report = json.loads((folder / "profile.json").read_text())
    assert report["steps"] == [6, 8]
    assert report["bound_by"] in ("evaluation", "data", "launches", "arithmetic")
    assert len(report["operations"]) == 10
    times = [each["ms_per_step"] for each in report["operations"]]
    assert times == sorted(times, reverse=True)
    # Shares of one total, to which the other operations belong too; how much depends on the machine.
    total = times[0] / report["operations"][0]["share"]
    assert [each["share"] * total for each in report["operations"]] == pytest.approx(times)
    assert sum(times) < total
    content = gzip.decompress((folder / "trace.json.gz").read_bytes()).decode()
    events = json.loads(content)["traceEvents"]
    assert {"aten::addmm"} <= {event.get("name") for event in events}
    assert str(runs) not in content
    assert f"{Path.home()}/" not in content
    assert (folder / "trace.json.gz").stat().st_size < 2**20
    log = (runs / "both" / "run.log").read_text()
    assert f"profile of steps 6 to 8: {report['advice']}" in log
    assert report["operations"][0]["name"] in log
    assert not (runs / "plain" / "profile").exists()
    assert (runs / "loaded").read_text() == ""
