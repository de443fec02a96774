"""A stream whose descriptor has become a pipe is written to like any other; threads restore standard error."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from nnrun.base.streams import NativeErrorsDiscarded, write_any_character


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


def test_of_threads_that_discard_native_errors_at_once_the_last_restores_the_stream(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The second waits for the first: otherwise it would keep the null device as the stream, and put that back."""
    second = NativeErrorsDiscarded()
    entered = threading.Event()

    def enter() -> None:
        second.__enter__()
        entered.set()

    thread = threading.Thread(target=enter, daemon=True)
    with NativeErrorsDiscarded():
        thread.start()
        assert not entered.wait(0.2)
        os.write(2, b"discarded")
    assert entered.wait(60)
    second.__exit__()
    os.write(2, b"kept")
    assert capfd.readouterr().err == "kept"
