"""A file that is opened once keeps its bytes, and is closed with its last reference."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from nnrun.base.open_file import OpenFile


def test_its_bytes_and_their_hash_are_those_of_when_it_was_opened(tmp_path: Path) -> None:
    """Negative control: the name belongs to another file by then."""
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    file = OpenFile(path)
    (tmp_path / "y").write_bytes(b"other")
    (tmp_path / "y").replace(path)
    assert (file.num_bytes, file.sha256) == (3, hashlib.sha256(b"abc").hexdigest())
    file.stream.seek(0)
    assert file.stream.read() == b"abc"
    assert OpenFile(path).num_bytes == 5


def test_it_is_closed_when_told_and_twice_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    file = OpenFile(tmp_path / "x")
    file.close()
    file.close()
    assert file.stream.closed


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p")
    with pytest.raises(OSError, match="it is a pipe"):
        OpenFile(tmp_path / "p")
