"""outputs/latest: a run that is lost before its first checkpoint does not keep it, however it was lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nnrun.base.lock import locked
from nnrun.checkpoints.latest import put_back
from support.command_line import OWN, SHORT, run_here, write_files


@pytest.fixture(scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latest")
    assert run_here([*SHORT, "model=mlp", "hydra.run.dir=good"], folder).code == 0
    return folder


@pytest.fixture
def folder(_trained: Path, tmp_path: Path) -> Path:
    """Where a run is finished; outputs/latest stands for it."""
    return Path(shutil.copytree(_trained, tmp_path / "here", symlinks=True))


def latest(folder: Path) -> str | None:
    link = folder / "outputs" / "latest"
    return (folder / "outputs" / link.readlink()).resolve().name if link.is_symlink() else None


def test_a_run_that_fails_before_its_first_checkpoint_restores_the_link(folder: Path) -> None:
    write_files(folder, OWN)
    failed = run_here([*SHORT, "model=mynet", "model.mood=breaks", "hydra.run.dir=bad"], folder)
    assert (failed.code, latest(folder)) == (2, "good")
    # The negative control: one that fails after it keeps what it took.
    failed = run_here([*SHORT, "model=mynet", "model.mood=raises", "hydra.run.dir=worse"], folder)
    assert (failed.code, latest(folder)) == (2, "worse")


def test_the_first_run_of_all_leaves_no_link(tmp_path: Path) -> None:
    failed = run_here([*SHORT, "model=mlp", "data=folder", "data.root=none", "hydra.run.dir=bad"], tmp_path)
    assert (failed.code, latest(tmp_path)) == (3, None)


def kill(folder: Path, name: str, before: str | None) -> None:
    """What a run that was killed before its first checkpoint leaves."""
    (folder / name).mkdir()
    (folder / name / ".lock").write_text("pid 1 on nowhere")
    (folder / name / "status.json").write_text(json.dumps({"state": "running", "latest_before": before}))
    link = folder / "outputs" / "latest"
    link.unlink(missing_ok=True)
    link.symlink_to(f"../{name}")


def test_runs_that_were_killed_before_their_first_checkpoint_are_passed_over_and_that_is_said(folder: Path) -> None:
    kill(folder, "killed", "../good")
    kill(folder, "killed too", "../killed")
    done = run_here(["ckpt=outputs/latest"], folder)
    assert (done.code, latest(folder)) == (0, "good")
    assert "note: killed too failed before its first checkpoint; outputs/latest points to good again" in done.out
    assert "note" not in run_here(["ckpt=outputs/latest"], folder).out


def test_resuming_latest_never_resumes_another_run(folder: Path) -> None:
    kill(folder, "killed", "../good")
    done = run_here(["resume=outputs/latest"], folder)
    assert (done.code, latest(folder)) == (4, "good")
    assert "nothing to resume in it" in done.err


def test_the_next_run_knows_what_was_before_a_killed_one(folder: Path) -> None:
    kill(folder, "killed", "../good")
    failed = run_here([*SHORT, "model=mlp", "data=folder", "data.root=none", "hydra.run.dir=bad"], folder)
    assert (failed.code, latest(folder)) == (3, "good")


def test_a_run_under_way_keeps_the_link(folder: Path) -> None:
    kill(folder, "living", "../good")
    with locked(folder / "living"):
        assert put_back(folder / "outputs" / "latest") is None
    assert latest(folder) == "living"
    assert put_back(folder / "outputs" / "latest") is not None


def test_what_an_older_version_left_is_left_as_it_is(folder: Path) -> None:
    kill(folder, "old", None)
    (folder / "old" / "status.json").write_text(json.dumps({"state": "running"}))
    assert put_back(folder / "outputs" / "latest") is None
    assert latest(folder) == "old"
