"""Which run directories the value of `runs=` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.base.errors import ArtifactError
from nnrun.tasks.comparison.found import find_runs, items_of


def make_run(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "status.json").write_text("{}")
    return path


def named(text: str) -> list[str]:
    return [str(run.path) for run in find_runs(text).runs]


def test_lists_patterns_and_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("out/a", "out/b,c", "out/d=1 [x]", "out/deep/er/é", "other/f"):
        make_run(Path(name))
    assert named("out") == ["out/a", "out/b,c", "out/d=1 [x]", "out/deep/er/é"]
    assert named("out/b,c") == ["out/b,c"]
    assert named("out/d=1 [x]") == ["out/d=1 [x]"]
    assert named("[out/b,c,out/a]") == ["out/b,c", "out/a"]
    assert named("[out/a, other]") == ["out/a", "other/f"]
    assert named("['out/b,c','out/d=1 [x]']") == ["out/b,c", "out/d=1 [x]"]
    assert named("out/[ab]*") == ["out/a", "out/b,c"]
    assert named("[out/a,out,./out/a]") == ["out/a", "out/b,c", "out/d=1 [x]", "out/deep/er/é"]
    assert items_of("[a,b]") == ["a", "b"]


def test_a_search_follows_no_links_and_looks_neither_into_runs_nor_into_hidden_folders(tmp_path: Path) -> None:
    run = make_run(tmp_path / "out" / "run")
    make_run(run / "inner")
    make_run(tmp_path / "out" / ".hidden")
    make_run(tmp_path / "elsewhere" / "run")
    (tmp_path / "out" / "latest").symlink_to("run")
    (tmp_path / "out" / "away").symlink_to(tmp_path / "elsewhere")
    assert named(str(tmp_path / "out")) == [str(run)]
    # A pattern matches what is there, and no links; what is named itself may be one.
    assert named(str(tmp_path / "out" / "*")) == [str(run)]
    latest = find_runs(str(tmp_path / "out" / "latest")).runs[0]
    assert (latest.path, latest.is_named, latest.is_link) == (run, True, True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing", "does not exist"),
        ("no*", "matches nothing"),
        ("a,b", "name several runs as runs=[a,b]"),
        ("empty", "holds no run"),
        ("file", "is a file"),
        ("x" * 5000, "cannot be reached"),
        ("broken", "is a link to gone"),
    ],
)
def test_what_names_no_run_is_said(text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("file").touch()
    Path("broken").symlink_to("gone")
    with pytest.raises(ArtifactError, match=says.replace("[", r"\[")) as error:
        find_runs(text)
    assert error.value.exit_code == 4
