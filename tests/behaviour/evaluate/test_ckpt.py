"""Evaluating a checkpoint: from another folder, with its class named again, with settings that change nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.read import read_run
from nnrun.cli import main
from support.command_line import mnist_files, run_here, write_files
from support.small_runs import WORDS, stop_at, summary

# Only training reads these.
IDLE = (
    "optimizer=sgd",
    "optimizer.lr=0.5",
    "scheduler=cosine",
    "early_stopping.patience=1",
    "logger=none",
    "seed=3",
    "transfer.freeze=backbone",
    "trainer.epochs=2",
    "trainer.max_steps=3",
    "trainer.accumulate=2",
    "trainer.grad_clip_norm=0.5",
    "trainer.ema_decay=0.9",
    "trainer.checkpoint_every_steps=2",
    "trainer.keep_last=4",
    "trainer.log_every_steps=1",
    "data.batch_size=20",
)
# An evaluation reads these too.
ACTIVE = (
    "data.limit=150",
    "data.eval_batch_size=7",
    "data.residency=memory",
    "data.download=false",
    "loss.label_smoothing=0.2",
    "model=mlp",
    "trainer.device=cpu",
    "trainer.deterministic=true",
    "trainer.channels_last=false",
    "trainer.progress=false",
    "export=none",
)
MNIST_WORDS = (*WORDS, "data=mnist", "data.limit=null", "data.batch_size=8", "data.download=false")


def notes(text: str) -> list[str]:
    return [line.removeprefix("note: ") for line in text.splitlines() if line.startswith("note: ")]


def test_settings_that_only_training_reads_are_said_to_have_no_effect_and_have_none(tmp_path: Path) -> None:
    """Negative control: beside no ckpt= the same words are said nothing of, and train another network."""
    trained = run_here([*WORDS, "hydra.run.dir=run"], tmp_path)
    plain = run_here(["ckpt=run", "hydra.run.dir=plain"], tmp_path)
    idle = run_here(["ckpt=run", *IDLE, "hydra.run.dir=idle"], tmp_path)
    anew = run_here([*WORDS, *IDLE, "hydra.run.dir=anew"], tmp_path)
    assert (trained.code, plain.code, idle.code, anew.code) == (0, 0, 0, 0)
    keys = [word.partition("=")[0] for word in IDLE]
    assert notes(idle.out) == [f"{key} has no effect with ckpt=: nothing is trained" for key in keys]
    assert notes(plain.out) == notes(anew.out) == []
    metrics = {name: summary(tmp_path / name)["metrics"] for name in ("run", "plain", "idle", "anew")}
    assert metrics["run"] == metrics["plain"] == metrics["idle"] != metrics["anew"]


def test_a_folder_for_data_that_has_none_is_refused(tmp_path: Path) -> None:
    """Whoever forgets data=folder would train on other data. The negative control: MNIST reads it, and finds none."""
    done = run_here([*WORDS, "data.root=my pictures"], tmp_path)
    assert done.code == 2
    assert "data.root=my pictures has no effect with data=digits, which reads no folder; data=folder" in done.err
    read = run_here([*MNIST_WORDS, "data.root=my pictures"], tmp_path)
    assert (read.code, notes(read.out)) == (3, [])


def test_choosing_a_data_set_brings_no_note_on_a_folder_that_nobody_named(tmp_path: Path) -> None:
    done = run_here([*WORDS, "data=digits"], tmp_path)
    assert (done.code, notes(done.out)) == (0, [])


@pytest.mark.parametrize(
    "word", ["trainer=debug", "trainer.precision=bf16", "trainer.compile=true", "trainer.nonfinite=skip"]
)
def test_other_settings_that_only_training_reads_are_said_too(tmp_path: Path, word: str) -> None:
    assert run_here([*WORDS, "hydra.run.dir=run"], tmp_path).code == 0
    done = run_here(["ckpt=run", word], tmp_path)
    assert done.code == 0
    assert notes(done.out) == [f"{word.partition('=')[0]} has no effect with ckpt=: nothing is trained"]


def test_settings_that_an_evaluation_reads_are_taken_without_a_word(tmp_path: Path) -> None:
    assert run_here([*WORDS, "hydra.run.dir=run"], tmp_path).code == 0
    done = run_here(["ckpt=run", *ACTIVE, "hydra.run.dir=other"], tmp_path)
    assert (done.code, done.err, notes(done.out)) == (0, "", [])
    trained, evaluated = summary(tmp_path / "run"), summary(tmp_path / "other")
    assert evaluated["details"]["test"] != trained["details"]["test"]
    assert evaluated["metrics"]["test/loss"] != trained["metrics"]["test/loss"]


@pytest.fixture
def mnist(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with a run on data that were named relatively, stopped in its second epoch, and another folder."""
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    write_files(here, mnist_files("pixels"))
    with stop_at(10):
        stopped = run_here([*MNIST_WORDS, "data.root=pixels", "hydra.run.dir=run"], here)
    assert stopped.code == 143, stopped.err
    return here, there


@pytest.mark.parametrize("key", ["ckpt", "resume"])
def test_the_data_of_a_checkpoint_are_found_from_another_folder(mnist: tuple[Path, Path], key: str) -> None:
    """Negative control: data that are named relatively by a new run are not found from there."""
    here, there = mnist
    saved = read_run(locate(here / "run", "best")).config["data"]
    assert saved["root"] == saved["dataset"]["root"]
    assert Path(saved["root"]).is_absolute()
    assert Path(saved["root"]).samefile(here / "pixels")
    assert yaml.safe_load((here / "run" / "config.yaml").read_text())["data"]["root"] == "pixels", "as it was typed"
    done = run_here([f"{key}={here / 'run'}"], there)
    assert (done.code, done.err) == (0, "")
    lost = run_here([*MNIST_WORDS, "data.root=pixels"], there)
    assert lost.code == 3
    assert "data.root=pixels lacks files of MNIST" in lost.err


@pytest.mark.parametrize("key", ["ckpt", "resume"])
def test_data_that_have_moved_are_found_where_data_root_says(mnist: tuple[Path, Path], key: str) -> None:
    """Negative control: without it they are not found."""
    here, there = mnist
    shutil.move(here / "pixels", there / "moved")
    assert run_here([f"{key}={here / 'run'}"], there).code == 3
    done = run_here([f"{key}={here / 'run'}", "data.root=moved"], there)
    assert (done.code, done.err) == (0, "")


def test_naming_the_saved_class_changes_nothing_that_was_saved(tmp_path, monkeypatch):
    """An option's file holds defaults, and those never win over what was saved; what is typed does."""
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, "model.hidden=[24]", "hydra.run.dir=narrow"]) == 0
    assert main(["ckpt=narrow", "model=mlp", "hydra.run.dir=same"]) == 0
    assert summary(Path("same"))["metrics"] == summary(Path("narrow"))["metrics"]
    assert main(["ckpt=narrow", "model=mlp", "model.hidden=[25]", "hydra.run.dir=typed"]) == 4
    assert main(["ckpt=narrow", "model=cnn", "hydra.run.dir=other"]) == 4


def test_a_checkpoint_that_is_older_than_a_setting_has_its_default(tmp_path: Path) -> None:
    """As if it had been saved before `trainer.nonfinite` was thought of."""
    assert run_here([*WORDS, "hydra.run.dir=run"], tmp_path).code == 0
    folder = CheckpointFolder(tmp_path / "run", 2)
    payload = torch.load(folder.last, weights_only=True)
    del payload["config"]["trainer"]["nonfinite"], payload["config"]["trainer"]["max_nonfinite"]
    del payload["training"]["watch"], payload["schema"]
    folder.save(payload, payload["training"]["progress"]["step"], is_best=True)
    done = run_here(["ckpt=run", "hydra.run.dir=out"], tmp_path)
    assert (done.code, done.err) == (0, "")
    assert summary(tmp_path / "out")["metrics"] == summary(tmp_path / "run")["metrics"]
    done = run_here(["resume=run", "trainer.epochs=4"], tmp_path)
    assert (done.code, done.err) == (0, "")


def test_a_checkpoint_from_before_a_setting_of_the_network_existed_is_the_same_network(tmp_path: Path) -> None:
    assert run_here([*WORDS, "model=cnn", "trainer.epochs=1", "hydra.run.dir=run"], tmp_path).code == 0
    path = locate(tmp_path / "run", "best").path
    payload = torch.load(path, weights_only=True)
    for name in ("batchnorm", "width"):
        del payload["config"]["model"][name]
    old = tmp_path / "old.ckpt"
    torch.save(payload, old)
    for words in ([], ["model=cnn"]):
        done = run_here([f"ckpt={old}", *words, "hydra.run.dir=again"], tmp_path)
        assert (done.code, done.err) == (0, "")
        assert summary(tmp_path / "again")["metrics"] == summary(tmp_path / "run")["metrics"]
        shutil.rmtree(tmp_path / "again")
    assert run_here([f"ckpt={old}", "model.hidden=7"], tmp_path).code == 4, "the negative control: another network"
