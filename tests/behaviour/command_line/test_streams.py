"""Standard output that is closed, full, or left by its reader: an exit code, no traceback, and whole checkpoints."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import NNRUN, SHORT, environment
from support.small_runs import assert_same_bits, assert_whole, resume, status, tree

FULL = Path("/dev/full")
STREAMS = ("closed", "left", "full")
# What only prints: who closes the stream or leaves wants no more; a full disk loses what was asked for.
PRINTING = {"closed": 0, "left": 0, "full": 5}


@contextlib.contextmanager
def opened(stream: str) -> Iterator[int]:
    """A descriptor of a stream that cannot be written to."""
    if stream == "full":
        if not FULL.exists():
            pytest.skip("this system has no /dev/full")
        descriptor = os.open(FULL, os.O_WRONLY)
    else:
        reader, descriptor = os.pipe()
        os.close(reader)
    yield descriptor
    os.close(descriptor)


def nnrun_into(stream: str, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program with a standard output that is closed, full or left."""
    # Closed by the shell, as `nnrun >&-` is.
    closing = ["sh", "-c", 'exec "$@" >&-', "sh"] if stream == "closed" else []
    with opened(stream) as descriptor:
        return subprocess.run(
            [*closing, *NNRUN, *words],
            cwd=folder,
            stdout=descriptor,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            check=False,
        )


def assert_no_traceback(text: str) -> None:
    assert "Traceback" not in text
    assert "Exception ignored" not in text


@pytest.mark.parametrize(
    ("words", "stream"),
    [
        *((word, stream) for word in ("--help", "--version") for stream in STREAMS),
        ("--cfg job", "closed"),
        ("--cfg job", "left"),
        ("--cfg job", "full"),
    ],
)
def test_printing_to_a_closed_or_full_output_shows_no_traceback(words: str, stream: str, tmp_path: Path) -> None:
    done = nnrun_into(stream, words.split(), tmp_path)
    assert_no_traceback(done.stderr)
    assert done.returncode == PRINTING[stream]
    assert bool(done.stderr) == (stream == "full"), "a full disk is said"


@pytest.mark.parametrize("stream", STREAMS)
def test_a_mistake_is_a_mistake_wherever_the_output_goes(stream: str, tmp_path: Path) -> None:
    """The negative control of the table above: only what cannot be printed changes the exit code."""
    done = nnrun_into(stream, ["optimizer.lr=-1"], tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_run_trains_to_its_end_with_its_output_closed(tmp_path: Path) -> None:
    done = nnrun_into("closed", [*SHORT, "model=mlp", "hydra.run.dir=run"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    run = tmp_path / "run"
    assert (status(run)["state"], status(run)["exit_code"]) == ("finished", 0)
    assert "next: nnrun export=onnx ckpt=run" in (run / "run.log").read_text(), "what nobody was told is in the log"
    assert_whole(run)


@pytest.mark.parametrize("stream", STREAMS[1:])
def test_a_run_that_cannot_print_ends_with_what_was_saved_as_it_was(stream: str, whole: Path, stopped: Path) -> None:
    """A run that goes on after an interrupt: negative control, with an output that takes it, it comes to its end."""
    before = tree(stopped / "checkpoints")
    done = nnrun_into(stream, [f"resume={stopped}"], stopped.parent)
    assert_no_traceback(done.stderr)
    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert line.startswith("nnrun: standard output ")
    assert (status(stopped)["state"], status(stopped)["exit_code"]) == ("failed", 5)
    assert tree(stopped / "checkpoints") == before
    assert resume(stopped) == 0
    assert_same_bits(stopped, whole)
