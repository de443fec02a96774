"""Directories of runs, and the link to the newest."""

from __future__ import annotations

from nnrun.checkpoints.latest import point_latest
from nnrun.runs.directory import create_numbered, plain_name


def test_latest_moves_from_run_to_run_and_leaves_what_is_no_link_alone(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert point_latest(first, tmp_path)
    assert point_latest(second, tmp_path)
    assert (tmp_path / "latest").resolve() == second
    assert not (tmp_path / "latest").readlink().is_absolute(), "the whole folder can be moved"
    own = tmp_path / "own"
    (own / "latest").mkdir(parents=True)
    (own / "latest" / "mine").touch()
    assert not point_latest(first, own)
    assert (own / "latest" / "mine").exists()


def test_directories_of_the_same_name_are_numbered(tmp_path):
    assert [create_numbered(tmp_path, "run").name for _ in range(3)] == ["run", "run-2", "run-3"]


def test_a_name_holds_no_space_no_equals_sign_and_is_never_empty():
    assert plain_name("optimizer.lr=0.1 é/[a]") == "optimizer.lr-0.1-é-a"
    assert plain_name("///") == "run"
    assert len(plain_name("x" * 500)) <= 80
