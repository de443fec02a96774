"""The folder of a rank that is not the first: it lasts as long as the rank, or until a later one starts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from nnrun.tasks.train.follow import _temporary_folder


def test_what_killed_ranks_left_is_removed_by_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the folder of a rank that lives, and one that was made just now, stay."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, fresh = tmp_path / "nnrun-rank-left", tmp_path / "nnrun-rank-fresh"
    for path in (left, fresh):
        path.mkdir()
        (path / "config.yaml").touch()
    os.utime(left, (0, 0))
    with _temporary_folder() as living:
        os.utime(living, (0, 0))
        with _temporary_folder() as other:
            assert set(tmp_path.iterdir()) == {fresh, living, other}
    assert list(tmp_path.iterdir()) == [fresh]
