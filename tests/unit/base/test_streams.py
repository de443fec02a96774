"""A stream that was a file, but whose descriptor has become a pipe, is written to like any other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nnrun.base.streams import write_any_character


def test_any_character_is_written_to_a_file_that_has_become_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    with (tmp_path / "output").open("w", encoding="ascii") as stream:
        os.write(stream.fileno(), b"before")
        os.dup2(writer, stream.fileno())
        os.close(writer)
        monkeypatch.setattr(sys, "stdout", stream)
        write_any_character()
        stream.write("3 × 4")
    assert os.read(reader, 100) == b"3 x 4"
    os.close(reader)
