"""A bad environment, line by line: code 5, the words, no traceback, and what was saved still whole.

Each line strikes a run under way, or its resumption; afterwards the run goes on to the bits of one that was left alone,
which is the negative control too: without the fault the same commands end well.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch

import nnrun.base.files
import nnrun.proof.isolated
import nnrun.runs.directory
from nnrun.base.lock import locked
from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.components.models.mlp import MLP
from nnrun.core.seams.data import Split
from support.command_line import Outcome, run_here
from support.small_runs import POLLS, WORDS, assert_same_bits, assert_whole, manifest, status, train

Patch = pytest.MonkeyPatch


def failing(code: int, at_save: int = 2) -> Callable[[Patch], None]:
    """Let the disk fail from the n-th checkpoint on that is saved; from the first file on if that is 0."""

    def patch(monkeypatch: Patch) -> None:
        original, save, saves = os.fsync, CheckpointFolder.save, 0

        def counted(*args: Any, **kwargs: Any) -> Path:
            nonlocal saves
            saves += 1
            return save(*args, **kwargs)

        def fsync(descriptor: int) -> None:
            if saves >= at_save:
                raise OSError(code, os.strerror(code))
            original(descriptor)

        monkeypatch.setattr(CheckpointFolder, "save", counted)
        monkeypatch.setattr(nnrun.base.files.os, "fsync", fsync)

    return patch


def refusing(code: int) -> Callable[[Patch], None]:
    """Let no file be made."""

    def patch(monkeypatch: Patch) -> None:
        original = os.open

        def refuse(path: str, flags: int, *args: Any, **kwargs: Any) -> int:
            if flags & os.O_EXCL:
                raise OSError(code, os.strerror(code))
            return original(path, flags, *args, **kwargs)

        monkeypatch.setattr(nnrun.base.files.os, "open", refuse)

    return patch


def raising(error: Exception, in_training: bool = True) -> Callable[[Patch], None]:
    """Let the network's forward pass fail, in the second epoch's training or in the first validation."""

    def patch(monkeypatch: Patch) -> None:
        original, calls = MLP.forward, 0

        def forward(network: MLP, inputs: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += network.training is in_training
            if calls == (8 if in_training else 2):
                raise error
            return original(network, inputs)

        monkeypatch.setattr(MLP, "forward", forward)

    return patch


def asking_for_too_much(monkeypatch: Patch) -> None:
    """The host's real allocator, asked for more than any machine has."""
    monkeypatch.setattr(MLP, "forward", lambda network, inputs: torch.empty(2**50) + inputs)


def killing_a_worker(monkeypatch: Patch) -> None:
    """What the kernel does to a data worker when memory runs out."""
    parent = os.getpid()

    original = Split.take

    def take(split: Split, indices: torch.Tensor) -> object:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(split, indices)

    monkeypatch.setattr(Split, "take", take)


def setting_the_clock_back(monkeypatch: Patch) -> None:
    class Past(datetime):
        @classmethod
        def now(cls, tz=None):  # type: ignore[override]
            return datetime(1999, 12, 31, 23, 59, 59, tzinfo=tz)

    monkeypatch.setattr(nnrun.runs.directory, "datetime", Past)


def without(module: str) -> Callable[[Patch], None]:
    return lambda monkeypatch: monkeypatch.setitem(sys.modules, module, None)


def proving_without(module: str) -> Callable[[Patch], None]:
    """Let the process that proves an artifact not find a module."""
    script = (
        f"import runpy, sys; sys.modules[{module!r}] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )

    def patch(monkeypatch: Patch) -> None:
        def start(words: list[str], **how: Any) -> subprocess.Popen[bytes]:
            return subprocess.Popen([*words[:4], "-c", script, *words[4:]], **how)

        proving = types.SimpleNamespace(Popen=start, PIPE=subprocess.PIPE)
        monkeypatch.setattr(nnrun.proof.isolated, "subprocess", proving)

    return patch


@dataclass(frozen=True)
class Line:
    """A line of the catalogue: what happens to a run, its exit code, what is said, further words of the command."""

    patch: Callable[[Patch], None]
    code: int
    says: tuple[str, ...] = ()
    words: tuple[str, ...] = field(default=())


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
LINES: dict[str, Line] = {
    "disk full during a save": Line(
        failing(errno.ENOSPC), 5, ("checkpoints/step-", "bytes): the disk is full; free some", "bytes are free")
    ),
    "disk quota used up": Line(failing(errno.EDQUOT), 5, ("the disk quota is used up",)),
    "a limit on the size of files": Line(failing(errno.EFBIG), 5, ("raise it with ulimit -f",)),
    "EIO on fsync": Line(failing(errno.EIO), 5, ("the disk reports an input/output error; saved files are intact",)),
    "disk full before the start": Line(failing(errno.ENOSPC, at_save=0), 5, ("the disk is full", "bytes are free")),
    "read-only folder": Line(refusing(errno.EROFS), 5, ("the file system is read-only; choose another folder",)),
    "no permission": Line(refusing(errno.EACCES), 5, ("permission denied; choose another folder with hydra.run.dir=",)),
    "too few file handles": Line(refusing(errno.EMFILE), 5, ("too many open files; raise the limit with ulimit -n",)),
    "out of device memory": Line(
        raising(OUT_OF_MEMORY),
        5,
        (
            "out of memory on cpu with data.batch_size=30; the last checkpoint is intact",
            "data.batch_size=15 trainer.accumulate=2, which gives the same update",
        ),
    ),
    "out of device memory in a validation": Line(
        raising(OUT_OF_MEMORY, in_training=False),
        5,
        ("data.eval_batch_size=16; saved files are intact", "data.eval_batch_size=8"),
    ),
    "out of the host's memory": Line(asking_for_too_much, 5, ("out of memory on cpu", "data.batch_size=15")),
    "a data worker killed": Line(
        killing_a_worker,
        5,
        (
            "a process that reads data ahead was killed (SIGKILL), perhaps because memory ran out",
            "data.residency=memory",
        ),
        ("data.residency=stream", "data.num_workers=1"),
    ),
    "clock set back": Line(setting_the_clock_back, 0),
    "an optional package missing": Line(
        without("onnx"), 5, ("needs the package onnx, which is not installed: pip install onnx",), ("export=onnx",)
    ),
    "the proof's package missing": Line(
        proving_without("onnxruntime"),
        5,
        ("needs the package onnxruntime", "pip install onnxruntime"),
        ("export=onnx",),
    ),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was left alone, and one that was stopped in its first epoch."""
    folder = tmp_path_factory.mktemp("runs")
    assert train(folder / "whole") == 0
    assert train(folder / "stopped", stop=2) == 143
    return folder


def assert_said(line: Line, done: Outcome) -> None:
    assert done.code == line.code, done.err
    assert all(text in done.err for text in line.says), done.err
    assert "Traceback" not in done.err
    assert all(text.startswith("nnrun: ") for text in done.err.splitlines())


@pytest.mark.parametrize("name", LINES)
def test_a_run_in_a_bad_environment_keeps_its_checkpoints(runs: Path, tmp_path: Path, name: str) -> None:
    line = LINES[name]
    with pytest.MonkeyPatch.context() as monkeypatch:
        line.patch(monkeypatch)
        done = run_here([*WORDS, *line.words, f"hydra.run.dir={tmp_path / 'run'}"], tmp_path)
    assert_said(line, done)
    if not (tmp_path / "run/checkpoints/manifest.json").exists():
        assert "before" in name or "only" in name or "permission" in name or "handles" in name, done.err
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        assert train(tmp_path / "run") == 0
    else:
        assert_whole(tmp_path / "run")
        if line.code:
            assert status(tmp_path / "run")["exit_code"] == 5 or "fsync" in name or "disk" in name or "limit" in name
        calm = ["data.residency=device", "data.num_workers=0"] if "stream" in str(line.words) else []
        assert run_here([f"resume={tmp_path / 'run'}", *calm], tmp_path).code == 0
    assert not list(tmp_path.rglob(".*.tmp")), "nothing temporary is left"
    if not line.words:  # which are part of what a checkpoint holds
        assert_same_bits(tmp_path / "run", runs / "whole")


@pytest.mark.parametrize("name", [name for name in LINES if "worker" not in name and "package" not in name])
def test_a_resumed_run_in_a_bad_environment_keeps_its_checkpoints(runs: Path, tmp_path: Path, name: str) -> None:
    run = Path(shutil.copytree(runs / "stopped", tmp_path / "run"))
    line = LINES[name]
    with pytest.MonkeyPatch.context() as monkeypatch:
        line.patch(monkeypatch)
        done = run_here([f"resume={run}"], tmp_path)
    assert_said(line, done)
    assert_whole(run)
    assert run_here([f"resume={run}"], tmp_path).code == 0
    assert_same_bits(run, runs / "whole")


def test_a_run_directory_in_use_is_refused(runs: Path, tmp_path: Path) -> None:
    done = run_here([*WORDS, f"hydra.run.dir={runs / 'whole'}"], tmp_path)
    assert (done.code, f"continue with resume={runs / 'whole'}" in done.err) == (2, True)


def test_a_second_process_in_one_run_directory_is_refused(runs: Path, tmp_path: Path) -> None:
    """The second refuses and names the first's pid; of a dead one the lock is taken over, and that is said."""
    run = Path(shutil.copytree(runs / "stopped", tmp_path / "run"))
    with locked(run):
        for is_saving in (False, True):  # what is read may be half replaced: that is no damage
            if is_saving:
                (run / "checkpoints").rename(tmp_path / "meanwhile")
            done = run_here([f"resume={run}"], tmp_path)
            assert done.code == 5
            assert f"run is in use by pid {os.getpid()} on " in done.err
    (tmp_path / "meanwhile").rename(run / "checkpoints")
    (run / ".lock").write_text("pid 12345 on elsewhere since 2026-01-01 00:00:00")
    done = run_here([f"resume={run}"], tmp_path)
    assert done.code == 0
    stale = "pid 12345 on elsewhere since 2026-01-01 00:00:00, which is no longer running"
    assert f"note: took over {run} from {stale}" in done.out
    assert_same_bits(run, runs / "whole")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_an_environment_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = run_here([*WORDS, "hydra.run.dir=run"], tmp_path)
    tmp_path.chmod(0o700)
    assert (done.code, "permission denied" in done.err) == (5, True)


@contextlib.contextmanager
def small_files(num_bytes: int) -> Iterator[None]:
    """The kernel's own limit on the size of a file."""
    earlier = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, earlier[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, earlier)


def test_a_run_that_reaches_the_limit_on_file_sizes_can_be_resumed(runs: Path, tmp_path: Path) -> None:
    """The checkpoint of the start has no state of Adam's yet: it fits, and stays when the next one does not."""
    first = next(entry for entry in manifest(runs / "stopped")["files"] if entry["step"] == 0)
    with small_files(2 * first["bytes"]):
        done = run_here([*WORDS, "hydra.run.dir=run"], tmp_path)
    assert (done.code, "the limit on the size of a file is reached" in done.err) == (5, True)
    assert "raise it with ulimit -f, then resume with: nnrun resume=run\n" in done.err
    assert [entry["name"] for entry in manifest(tmp_path / "run")["files"]] == [first["name"]]
    assert run_here(["resume=run"], tmp_path).code == 0
    assert_same_bits(tmp_path / "run", runs / "whole")


def test_where_nothing_is_saved_yet_there_is_nothing_to_resume(tmp_path: Path) -> None:
    """Not even the checkpoint of the start fits. Negative control: the test above."""
    with small_files(50_000):
        done = run_here([*WORDS, "hydra.run.dir=run"], tmp_path)
    assert done.code == 5
    assert "raise it with ulimit -f, then run the command again" in done.err
    assert "resume" not in done.err


def test_too_little_room_is_said_before_the_first_step(tmp_path: Path, monkeypatch: Patch) -> None:
    """A disk on which fewer checkpoints fit than are kept. Negative control: with one byte more, the run trains."""
    usage = shutil.disk_usage(tmp_path)
    assert train(tmp_path / "probe") == 0
    folder = CheckpointFolder(tmp_path / "probe", 2)
    need = 3 * min(entry.bytes for entry in folder.manifest.files)
    for free, code in ((10_000, 5), (10 * need, 0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nnrun.base.files.shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
            done = run_here([*WORDS, f"hydra.run.dir=run{free}"], tmp_path)
        assert done.code == code, done.err
    done = run_here(["resume=run10000"], tmp_path)
    assert done.code == 0


def test_a_loss_that_is_nan_ends_the_run(runs: Path, tmp_path: Path) -> None:
    """Code 6, step and batch named, the last good checkpoint kept; a good setting goes on from it."""
    words = ["optimizer=sgd", "optimizer.lr=1e30", "trainer.checkpoint_every_steps=1"]
    done = run_here([*WORDS, *words, "hydra.run.dir=run"], tmp_path)
    assert done.code == 6
    assert "nnrun: the loss became NaN or infinite at step 2 (epoch 1, batch 2); try a lower optimizer.lr" in done.err
    assert (
        f"nnrun: the last good checkpoint is {Path('run/checkpoints') / manifest(tmp_path / 'run')['last']}" in done.err
    )
    assert status(tmp_path / "run")["state"] == "diverged"
    assert_whole(tmp_path / "run")
    for entry in manifest(tmp_path / "run")["files"]:
        weights = torch.load(tmp_path / "run/checkpoints" / entry["name"], weights_only=True)["model"]
        assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_a_run_that_diverged_may_go_on_without_its_bad_updates(tmp_path: Path, monkeypatch: Patch) -> None:
    """As one that left them out from the start; what was left out is counted, and the change is recorded."""
    original = MLP.forward

    def forward(network: MLP, inputs: torch.Tensor) -> torch.Tensor:
        spoilt = network.training and inputs[0, 0, 14, 14] > 1.5
        return original(network, inputs) * (float("nan") if spoilt else 1.0)

    monkeypatch.setattr(MLP, "forward", forward)
    assert train(tmp_path / "stops") == 6
    assert train(tmp_path / "skips", "trainer.nonfinite=skip") == 0
    skipped = json.loads((tmp_path / "skips/summary.json").read_text())["train"]["skipped_updates"]
    assert 0 < skipped < 3 * 6
    assert run_here([f"resume={tmp_path / 'stops'}", "trainer.nonfinite=skip"], tmp_path).code == 0
    assert (tmp_path / "stops/metrics.jsonl").read_bytes() == (tmp_path / "skips/metrics.jsonl").read_bytes()
    assert status(tmp_path / "stops")["resumed"][0]["changes"] == ["trainer.nonfinite: 'stop' -> 'skip'"]
    assert train(tmp_path / "often", "trainer.nonfinite=skip", "trainer.max_nonfinite=1") == 6
    assert train(tmp_path / "later", "trainer.nonfinite=skip", stop=2 * POLLS) == 143
    done = run_here([f"resume={tmp_path / 'later'}", "trainer.nonfinite=stop"], tmp_path)
    assert (done.code, " skipped update" in done.err) == (2, True)
