"""`task=clean`: what would be deleted is shown, and what is deleted is whole runs, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nnrun.base.lock import locked
from nnrun.tasks.clean import delete
from support.command_line import below, run_here
from support.run_directories import write_run


def cleaned(folder: Path, *words: str, code: int = 0, runs: str = "out") -> dict[str, Any]:
    outcome = run_here(["--json", "task=clean", f"runs={runs}", *words], folder)
    assert outcome.code == code, outcome.err
    return json.loads(outcome.out)


def names(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(Path(row["directory"]).name for row in rows)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Path]:
    """Four runs, the best the second newest, and one that failed; and things that are no runs."""
    out = tmp_path / "out"
    for number, loss in enumerate((0.5, 0.2, 0.4, 0.3)):
        write_run(
            out / f"r{number}", loss=loss, optimizer__lr=10.0**-number, started=f"2026-11-0{4 - number}T10:00:00+00:00"
        )
    write_run(out / "failed", state="failed", started="2026-10-01T10:00:00+00:00")
    (out / "notes").mkdir()
    (out / "notes" / "mine.txt").write_text("keep me")
    (out / "r9").mkdir()
    (out / "r9" / "summary.json").write_text("{}")  # no status.json: it may be anything
    yield out


def test_it_shows_and_deletes_only_when_asked(runs: Path) -> None:
    before, folder = below(runs), runs.parent
    found = cleaned(folder, "clean.keep=best:2")
    assert names(found["would_delete"]) == ["failed", "r0", "r2"]
    assert found["would_free_bytes"] == sum(row["size_bytes"] for row in found["would_delete"]) > 0
    assert below(runs) == before
    said = run_here(["task=clean", "runs=out", "clean.keep=best:2"], folder).out
    assert "3 runs would be deleted" in said
    assert "nothing was deleted; to delete them, repeat the command with clean.yes=true" in said
    found = cleaned(folder, "clean.keep=best:2", "clean.yes=true")
    assert names(found["deleted"]) == ["failed", "r0", "r2"]
    assert found["freed_bytes"] > 0
    assert {path.name for path in runs.iterdir()} == {"r1", "r3", "notes", "r9"}
    assert not (folder / "outputs").exists()  # it leaves no directory of its own


def test_the_newest_are_kept(runs: Path) -> None:
    assert names(cleaned(runs.parent, "clean.keep=newest:2")["would_delete"]) == ["failed", "r2", "r3"]


@pytest.mark.parametrize("keep", ["best:5", "newest:99"])
def test_to_keep_more_than_there_are_deletes_nothing(runs: Path, keep: str) -> None:
    before = below(runs)
    outcome = run_here(["task=clean", "runs=out", f"clean.keep={keep}", "clean.yes=true"], runs.parent)
    assert (outcome.code, below(runs)) == (0, before)
    assert f"nothing to delete: clean.keep={keep}, and there are 5 runs" in outcome.out


def test_what_runs_and_what_latest_points_to_stays(runs: Path) -> None:
    folder = runs.parent
    (runs / "latest").symlink_to("r0")
    with locked(runs / "r2"):
        found = cleaned(folder, "clean.keep=best:1", "clean.yes=true")
    assert names(found["deleted"]) == ["failed", "r3"]
    why = {Path(row["directory"]).name: row["why"] for row in found["kept"]}
    assert why["r2"] == "it is running"
    assert "points to it; name it" in why["r0"]
    # It says so, also where nothing else could go.
    again = run_here(["task=clean", "runs=out", "clean.keep=best:2"], folder).out
    assert "nothing to delete: 4 runs kept" in again and "latest points to it; name it" in " ".join(again.split())
    # The negative control: without the lock, and named, they go; the link goes with its run.
    found = cleaned(folder, "clean.keep=best:1", "clean.yes=true", runs="[out/r0,out/r1,out/r2]")
    assert names(found["deleted"]) == ["r0", "r2"]
    assert not (runs / "latest").is_symlink()


def test_a_run_of_another_machine_that_may_be_under_way_stays(runs: Path) -> None:
    status = {"state": "running", "host": "another-machine", "task": "train"}
    (runs / "r2" / "status.json").write_text(json.dumps(status))
    (runs / "r3" / "status.json").write_text(json.dumps({**status, "host": os.uname().nodename}))
    found = cleaned(runs.parent, "clean.keep=best:1", "clean.yes=true")
    assert names(found["deleted"]) == ["failed", "r0", "r3"]


def test_nothing_is_deleted_through_a_link(runs: Path) -> None:
    folder = runs.parent
    away = write_run(folder / "away" / "run", loss=0.9)
    (runs / "link").symlink_to(away)
    (runs / "r0" / "data").symlink_to(folder / "away")
    (runs / "r0" / "config-of-all.yaml").symlink_to(away / "config.yaml")
    before = below(folder / "away")
    found = cleaned(folder, "clean.keep=best:1", "clean.yes=true")
    assert "r0" in names(found["deleted"])
    assert below(folder / "away") == before
    # Named itself, a link is refused too.
    write_run(folder / "away" / "better", loss=0.1)
    found = cleaned(folder, "clean.keep=best:1", "clean.yes=true", runs="[out/link,away/better]")
    assert found.get("deleted") in (None, [])
    assert any("named by a link" in row["why"] for row in found["kept"])
    assert away.is_dir()


def test_a_run_with_another_in_it_stays(runs: Path) -> None:
    write_run(runs / "r0" / "sub" / "inner")
    found = cleaned(runs.parent, "clean.keep=best:1", "clean.yes=true")
    assert (runs / "r0" / "sub" / "inner" / "summary.json").is_file()
    assert any("another run in it" in row["why"] for row in found["kept"])


def test_the_best_of_each_sweep(tmp_path: Path) -> None:
    for sweep in ("s1", "s2"):
        for number, loss in enumerate((0.3, 0.2)):
            write_run(tmp_path / "out" / sweep / f"{sweep}-{number}", loss=loss, optimizer__lr=10.0**-number)
        (tmp_path / "out" / sweep / "sweep.json").write_text("{}")
    write_run(tmp_path / "out" / "alone", loss=0.9)
    found = cleaned(tmp_path, "clean.keep=all-best")
    assert names(found["would_delete"]) == ["s1-0", "s2-0"]


def test_runs_that_are_not_ranked_together_keep_their_best_each(runs: Path) -> None:
    write_run(runs / "other", loss=9.0, data__name="mnist")
    assert "other" not in names(cleaned(runs.parent, "clean.keep=best:1")["would_delete"])
    # A finished run that cannot be read may be the best.
    (runs / "r0" / "summary.json").write_text("{")
    assert names(cleaned(runs.parent, "clean.keep=best:1")["would_delete"]) == ["failed", "r2", "r3"]


def test_an_interrupt_leaves_whole_runs_or_none(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove, removed = delete.shutil.rmtree, []

    def interrupted(path: Path) -> None:
        removed.append(path)
        if len(removed) == 2:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        remove(path)

    monkeypatch.setattr(delete.shutil, "rmtree", interrupted)
    found = cleaned(runs.parent, "clean.keep=best:1", "clean.yes=true", code=130)
    assert len(found["deleted"]) == 2
    left = [path for path in runs.iterdir() if path.name.startswith(("r0", "r2", "r3", "failed"))]
    assert len(left) == 2
    assert all((path / "config.yaml").is_file() and (path / "status.json").is_file() for path in left)
    assert not list(runs.glob(".deleting-*"))


def test_what_a_killed_deletion_left_is_no_run_and_goes_with_the_next(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path) -> None:
        (path / "config.yaml").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(delete.shutil, "rmtree", killed)
        cleaned(runs.parent, "clean.keep=best:3", "clean.yes=true", code=130)
    assert len(list(runs.glob(".deleting-*"))) == 1
    found = cleaned(runs.parent, "clean.keep=best:1", "clean.yes=true")
    assert names(found["deleted"]) == ["r0", "r2", "r3"]
    assert not list(runs.glob(".deleting-*"))


def test_it_says_what_to_keep_and_takes_nothing_else(runs: Path) -> None:
    rows = {
        ("task=clean", "runs=out"): "task=clean needs clean.keep=",
        ("task=clean", "clean.keep=best:1"): "task=clean needs runs=",
        ("task=clean", "runs=out", "clean.keep=best:0"): "clean.keep is 'best:0'; allowed: best:N",
        ("task=clean", "runs=out", "clean.keep=best:1", "seed=1"): "seed would have no effect with task=clean",
        ("clean.yes=true",): "clean.yes has no effect without task=clean",
        ("-m", "task=clean", "runs=out", "clean.keep=best:1,best:2"): "cannot be a job of a sweep",
    }
    before = below(runs)
    for words, says in rows.items():
        outcome = run_here(words, runs.parent)
        assert outcome.code == 2, words
        assert says in outcome.err
    assert below(runs) == before
