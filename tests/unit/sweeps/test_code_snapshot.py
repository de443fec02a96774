"""The copy of the user's code: modules and packages, no data; the same once more only if nothing has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.sweeps.code_snapshot import take_snapshot


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    for name in ("conf/model/own.yaml", "mine.py", "pack/__init__.py", "pack/deep/part.py", "pack/words.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    for name in ("images/a.png", "outputs/x.py", ".venv/y.py", "notes.txt", "s/loose.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "pack" / "large.bin").write_bytes(bytes(2**20))
    monkeypatch.chdir(root)
    return root


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_modules_packages_and_the_config_folder_are_copied(project: Path) -> None:
    copied = take_snapshot([project / "conf"], project / "s" / "code")
    assert files_of(copied.folder) == [
        "0/conf/model/own.yaml",
        "0/mine.py",
        "0/pack/__init__.py",
        "0/pack/deep/part.py",
        "0/pack/words.txt",
    ]
    assert (copied.own, copied.modules) == ((copied.folder / "0" / "conf",), (copied.folder / "0",))


def test_a_resumed_sweep_runs_the_users_code_and_not_what_is_in_its_folder(project: Path) -> None:
    """Whoever wrote the folder of the sweep: its code is used only if it is the user's, byte for byte."""
    first = take_snapshot([project / "conf"], project / "s" / "code")
    again = take_snapshot([project / "conf"], project / "s" / "code")
    assert (again.folder, again.is_changed) == (first.folder, False)
    (first.folder / "0" / "mine.py").write_text("another's")
    changed = take_snapshot([project / "conf"], project / "s" / "code")
    assert (changed.folder.name, changed.is_changed) == ("code-2", True)
    assert (changed.folder / "0" / "mine.py").read_text() == "mine.py"
    assert [path.name for path in sorted((project / "s").iterdir())] == ["code", "code-2", "loose.py"]
