"""A disk that fails while an artifact is written: code 5, no half file under a good name, and the run says so."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import nnrun.base.files
from nnrun.components.exporters.onnx import OnnxExporter
from support.command_line import Outcome, run_here
from support.small_runs import WORDS, status

FORMATS = ("onnx", "onnx_int8", "torchscript", "pt2", "safetensors", "torchserve", "hub")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert run_here([*WORDS, "model.hidden=64", "trainer.epochs=1", "hydra.run.dir=run"], folder).code == 0
    return folder / "run"


@contextmanager
def files_of(num_bytes: int) -> Iterator[None]:
    """Let no file be larger, which a library sees as it sees a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def export(trained: Path, folder: Path, *words: str) -> Outcome:
    return run_here([f"ckpt={trained}", "hydra.run.dir=run", *words], folder)


def assert_nothing_half(folder: Path, outcome: Outcome) -> None:
    assert outcome.code == 5, outcome.err
    (line,) = outcome.err.splitlines()
    assert line.startswith("nnrun: ")
    assert status(folder / "run")["state"] == "failed"
    assert status(folder / "run")["exit_code"] == 5
    assert list((folder / "run/exports").rglob("*")) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_disk_that_is_full_in_the_midst_of_an_artifact(name: str, trained: Path, tmp_path: Path) -> None:
    """The negative control: tests/test_private.py, which exports the same on a disk with room."""
    with files_of(20_000):
        outcome = export(trained, tmp_path, f"export={name}")
    assert_nothing_half(tmp_path, outcome)
    assert "limit on the size of a file is reached" in outcome.err


def test_a_disk_that_fails_at_the_end(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written and proven is not on the disk before it is synced."""
    original = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "model.onnx":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        original(descriptor)

    monkeypatch.setattr(nnrun.base.files.os, "fsync", fsync)
    outcome = export(trained, tmp_path, "export=onnx")
    assert_nothing_half(tmp_path, outcome)
    assert "exports/onnx: the disk reports an input/output error" in outcome.err


class SaysItInOwnWords(OnnxExporter):
    """As torch does of a disk that is full."""

    def export(self, model, context, folder):
        (folder / "half").write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")


@pytest.mark.parametrize(("num_bytes", "code"), [(20_000, 5), (resource.RLIM_INFINITY, 4)])
def test_a_library_that_says_it_in_words_of_its_own(num_bytes: int, code: int, trained: Path, tmp_path: Path) -> None:
    """The negative control is in the second row: with room on the disk the same error is the exporter's."""
    with files_of(num_bytes):
        outcome = export(trained, tmp_path, "export=onnx", f"export.onnx._target_={__name__}.SaysItInOwnWords")
    assert outcome.code == code, outcome.err
    assert status(tmp_path / "run")["state"] == "failed"


def test_a_status_is_written_where_no_new_file_can_be(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk without a free block takes no new file, and status.json would say for ever that the run is under way."""
    write, full = nnrun.base.files.DurableFile.write, False

    def written(file, data):
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data)

    def fills(exporter, model, context, folder):
        nonlocal full
        full = True
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "model.onnx"))

    monkeypatch.setattr(nnrun.base.files.DurableFile, "write", written)
    monkeypatch.setattr(OnnxExporter, "export", fills)
    outcome = export(trained, tmp_path, "export=onnx")
    assert_nothing_half(tmp_path, outcome)
    assert "the disk is full" in outcome.err
