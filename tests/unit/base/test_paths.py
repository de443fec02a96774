"""Where a run may write and remove. Negative control: plain names give the paths that they always gave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nnrun.base.errors import ArtifactError
from nnrun.base.paths import alone, check_no_links, expanded, inside, is_plain_name, is_there
from nnrun.checkpoints.locate import locate


@pytest.mark.parametrize("name", ["onnx", "onnx_int8", "my.format", "größe", "a+b", "a-b", "3"])
def test_a_plain_name_lies_inside(tmp_path, name):
    assert is_plain_name(name)
    assert inside(tmp_path, "exports", name) == tmp_path / "exports" / name


@pytest.mark.parametrize("name", ["..", ".", "", "/", "/home", "a/b", "../x", "a\0b"])
def test_what_is_a_path_lies_nowhere(tmp_path, name):
    assert not is_plain_name(name)
    with pytest.raises(ArtifactError, match="is not the name of a file in"):
        inside(tmp_path, "exports", name)


@pytest.mark.parametrize("name", [".hidden", "-rf", "a b", "a\nb", "x" * 101, "a\\b", 3, None, "\x1b]0;x\a", "\u202ex"])
def test_hidden_long_and_odd_names_are_not_plain(name):
    assert not is_plain_name(name)


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "victim" / "onnx").mkdir(parents=True)
    run = tmp_path / "run"
    (run / "exports").mkdir(parents=True)
    (run / "exports" / "onnx").symlink_to(tmp_path / "victim" / "onnx")
    with pytest.raises(ArtifactError, match="onnx is a link"):
        inside(run, "exports", "onnx")
    with pytest.raises(ArtifactError, match="onnx is a link"):
        check_no_links(run)
    (run / "exports" / "onnx").unlink()
    (run / "exports").rmdir()
    (run / "exports").symlink_to(tmp_path / "victim")
    with pytest.raises(ArtifactError, match="exports is a link"):
        inside(run, "exports", "onnx")
    with pytest.raises(ArtifactError, match="exports is a link"):
        check_no_links(run)


def test_a_run_directory_of_files_and_folders_has_no_links_though_it_may_be_reached_by_one(tmp_path):
    (tmp_path / "run" / "exports").mkdir(parents=True)
    (tmp_path / "run" / "run.log").touch()
    (tmp_path / "latest").symlink_to("run")
    check_no_links(tmp_path / "latest")
    assert inside(tmp_path / "latest", "run.log") == tmp_path / "latest" / "run.log"
    os.mkfifo(tmp_path / "run" / "exports" / "pipe")
    with pytest.raises(ArtifactError, match="pipe is neither a file nor a folder"):
        check_no_links(tmp_path / "run")


@pytest.mark.parametrize("name", ["x" * 300, "/".join(["d" * 200] * 30), "a\0b", "loop", "loop/x"])
@pytest.mark.parametrize("want", ["best", "last"])
def test_a_path_that_the_system_cannot_follow_is_no_bug(tmp_path: Path, name: str, want: str) -> None:
    """Negative control: a path that merely does not exist is reported as such."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ArtifactError, match=r"it cannot be reached|it is not a path") as caught:
        locate(tmp_path / name, want)
    assert len(str(caught.value)) < 600
    assert not is_there(tmp_path / name)
    with pytest.raises(ArtifactError, match="does not exist"):
        locate(tmp_path / "missing", want)


def test_a_home_of_an_unknown_user_is_not_expanded() -> None:
    assert expanded("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
    assert expanded("~/x") == Path.home() / "x"


def test_a_file_that_lies_elsewhere_too_is_not_written_there(tmp_path: Path) -> None:
    """Negative control: a file with one name stays the same file."""
    theirs, ours, single = tmp_path / "theirs", tmp_path / "ours", tmp_path / "single"
    for path in (theirs, single):
        path.write_text("precious")
    ours.hardlink_to(theirs)
    before = single.stat().st_ino
    for path in (alone(ours), alone(single), alone(tmp_path / "missing")):
        path.write_text("new")
    assert theirs.read_text() == "precious"
    assert (single.stat().st_ino, sorted(path.name for path in tmp_path.iterdir())) == (
        before,
        ["missing", "ours", "single", "theirs"],
    )
