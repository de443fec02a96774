"""The search for a batch size: what it tries, what limits it, and that it leaves everything else as it was."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from nnrun.cli import main
from nnrun.core.step import Step
from nnrun.tasks.batch_find import sizes
from nnrun.tasks.batch_find.sizes import Size, Tried
from support.small_runs import WORDS, assert_same_bits, train, tree

SMALL = [word for word in WORDS if not word.startswith(("export", "trainer.epochs", "trainer.log", "data."))]
SMALL += ["data.limit=200", "data.val_fraction=0.2", "batch_find.steps=3"]


def find(out: Path, *words: str, code: int = 0) -> dict[str, Any]:
    """Run the search in a directory, and return what it wrote."""
    with contextlib.chdir(out.parent):
        assert main(["task=batch_find", *SMALL, *words, f"hydra.run.dir={out}"]) == code
    return json.loads((out / "batch_find.json").read_text()) if code == 0 else {}


def test_it_tries_doubling_sizes_and_leaves_a_run_and_the_next_training_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Negative control: the printed batch size is another than the run's, and is trained with."""
    run = tmp_path / "run"
    assert train(run, "trainer.epochs=1") == 0
    before, random = tree(run), torch.get_rng_state()
    monkeypatch.setattr(sizes, "_MOST_SLOWER", 99)
    found = find(tmp_path / "found", "optimizer=sgd", "trainer.accumulate=2")
    assert [row["batch_size"] for row in found["sizes"]] == [8, 16, 32, 64, 128, 163]
    assert (found["largest"], found["limit"]) == (163, "the training split")
    assert torch.equal(torch.get_rng_state(), random)
    assert train(tmp_path / "again", "trainer.epochs=1") == 0
    assert_same_bits(run, tmp_path / "again")
    assert find(tmp_path / "of run", f"ckpt={run}", "batch_find.max=16")["limit"] == "batch_find.max"
    assert tree(run) == before
    words = shlex.split(found["command"])
    assert words[-1] == f"data.batch_size={found['fastest']}" and "trainer.accumulate=2" in words
    assert not any(word.startswith(("task", "batch_find")) for word in words)
    assert f"train with it: {found['command']}" in capsys.readouterr().out


def test_the_largest_that_fits_is_found_below_one_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By trying, where the device raises; and by the measured memory of a step on a CPU."""
    original = Step.gradients

    def limited(self: Step, batch: Any, num_samples: int) -> Any:
        if len(batch.targets) > 41:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return original(self, batch, num_samples)

    with monkeypatch.context() as patch:
        patch.setattr(Step, "gradients", limited)
        patch.setattr(sizes, "_MOST_SLOWER", 99)
        found = find(tmp_path / "found")
    assert 38 <= found["largest"] <= 41 and found["limit"] == "the device's memory"
    assert next(row for row in found["sizes"] if row["batch_size"] == 64)["samples_per_second"] is None
    assert "does not fit" in capsys.readouterr().out
    # A hidden layer of 256 keeps some kilobytes for each sample.
    monkeypatch.setattr(sizes, "available_bytes", lambda: 200_000)
    found = find(tmp_path / "small")
    assert 1 < found["largest"] < 163 and found["limit"] == "the host's available memory"
    assert found["sizes"][-1]["memory_bytes"] <= 200_000
    monkeypatch.setattr(Step, "gradients", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("out of memory")))
    monkeypatch.setattr(sizes.Trial, "_bytes_per_sample", lambda *_: 1)
    find(tmp_path / "none", code=5)
    assert "out of memory on cpu with a single sample" in capsys.readouterr().err


def test_the_smallest_that_is_nearly_as_fast_is_recommended() -> None:
    found = Tried([Size(8, 50.0, 1.0), Size(16, 96.0, 1.0), Size(32, 100.0, 1.0), Size(64)], 32, "")
    assert found.fastest is not None and found.fastest.batch_size == 16
    assert Tried([Size(8)], 0, "").fastest is None


def test_auto_becomes_a_number_that_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run is that of the number, bit for bit; a resumed and a repeated one have it too, without measuring it."""
    words = ("data.batch_size=auto", "trainer.epochs=2")
    assert train(tmp_path / "stopped", *words, stop=20) == 143
    (number,) = set(re.findall(r"data.batch_size=auto is (\d+) \(", capsys.readouterr().out))
    assert f"batch_size: {number}\n" in (tmp_path / "stopped" / "config.yaml").read_text()
    with contextlib.chdir(tmp_path):
        assert main(["resume=stopped"]) == 0
        assert main(["repeat=stopped", "hydra.run.dir=repeated"]) == 0
    assert train(tmp_path / "typed", f"data.batch_size={number}", "trainer.epochs=2") == 0
    for run in ("stopped", "repeated"):
        assert_same_bits(tmp_path / run, tmp_path / "typed")
    assert "auto is" not in capsys.readouterr().out


def test_auto_from_other_weights_reads_them_once(tmp_path: Path) -> None:
    assert train(tmp_path / "first", "trainer.epochs=1") == 0
    words = ("data.batch_size=auto", "trainer.epochs=1", f"init_from={tmp_path / 'first'}")
    assert train(tmp_path / "second", *words) == 0


@pytest.mark.parametrize(("task", "code"), [("inspect", 2), ("lr_find", 2), ("batch_find", 0)])
def test_auto_is_an_error_where_nothing_chooses_it(
    task: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.chdir(tmp_path):
        words = ["data.limit=200", "model=mlp", "data.batch_size=auto", "hydra.run.dir=out", "trainer.progress=false"]
        assert main([f"task={task}", *words]) == code
    said = "data.batch_size=auto is chosen by a training; give a number with task=" if code else ""
    assert said in capsys.readouterr().err.replace("\n", " ")
