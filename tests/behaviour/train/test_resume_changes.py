"""What may change when a run is resumed, and what is refused because it would have changed the run's past."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nnrun.cli import main
from nnrun.components.data.digits import Digits
from support.small_runs import STOPS, assert_same_bits, manifest, resume, summary, train, tree


def test_a_finished_run_says_so_and_stays_as_it_is(whole, capsys):
    before = tree(whole)
    assert resume(whole) == 0
    said = capsys.readouterr().out
    assert "is finished after 3 epochs; set a larger trainer.epochs to continue: nothing to do" in said
    assert tree(whole) == before


def test_a_setting_that_would_have_no_effect_on_a_finished_run_is_said(whole, capsys):
    assert resume(whole, "trainer.keep_last=5") == 2
    assert "trainer.keep_last would have no effect" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [None, STOPS["mid-epoch"]])
@pytest.mark.parametrize("scheduler", ["none", "exponential"])
def test_more_epochs_go_on_as_if_they_had_been_asked_for_at_once(tmp_path, scheduler, stop):
    words = [f"scheduler={scheduler}"]
    assert train(tmp_path / "longer", *words, "trainer.epochs=4") == 0
    assert train(tmp_path / "run", *words, "trainer.epochs=2", stop=stop) == (143 if stop else 0)
    assert resume(tmp_path / "run", "trainer.epochs=4") == 0
    ours, theirs = manifest(tmp_path / "run"), manifest(tmp_path / "longer")
    assert ours["last"] == theirs["last"]
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (tmp_path / "longer" / "metrics.jsonl").read_bytes()
    assert summary(tmp_path / "run")["train"]["epochs"] == 4


@pytest.mark.parametrize("scheduler", ["cosine", "onecycle", "warmup_cosine", "multistep"])
def test_more_epochs_under_a_schedule_over_the_whole_run_are_refused(tmp_path, capsys, scheduler):
    run = tmp_path / "run"
    assert train(run, f"scheduler={scheduler}", stop=2) == 143
    before = tree(run)
    assert resume(run, "trainer.epochs=5") == 2
    assert "trainer.epochs: 3 -> 5, but the schedule spans the whole run" in capsys.readouterr().err
    assert tree(run) == before


@pytest.mark.parametrize(
    ("words", "difference"),
    [
        (["optimizer.lr=0.5"], "optimizer.lr: 0.001 -> 0.5"),
        (["seed=7"], "seed: 0 -> 7"),
        (["data.batch_size=32"], "data.batch_size: 30 -> 32"),
        (["trainer.ema_decay=0.9"], "trainer.ema_decay: None -> 0.9"),
        (["model.dropout=0.5"], "model.dropout: 0.2 -> 0.5"),
        (["optimizer=sgd"], "optimizer._target_: 'torch.optim.Adam' -> 'torch.optim.SGD'"),
        (["trainer.threads=2"], "trainer.threads: 1 -> 2"),
        (["seed=7", "trainer.accumulate=2"], "trainer.accumulate: 1 -> 2"),
    ],
)
def test_a_config_that_would_have_changed_the_past_is_refused_with_a_diff(stopped, capsys, words, difference):
    before = tree(stopped)
    assert resume(stopped, *words) == 2
    error = capsys.readouterr().err
    assert difference in error
    assert "cannot change on resume" in error
    assert tree(stopped) == before


def test_what_changes_nothing_in_the_past_may_change(whole, stopped):
    assert resume(stopped, "trainer.keep_last=5", "trainer.progress=false", "data.num_workers=0") == 0
    assert (stopped / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_other_data_are_refused_and_the_run_can_still_go_on(whole, stopped, capsys, monkeypatch):
    original = Digits.load

    def one_pixel_brighter(source):
        dataset = original(source)
        dataset.train.inputs[:, 0, 14, 14] += 1
        return dataset

    monkeypatch.setattr(Digits, "load", one_pixel_brighter)
    assert resume(stopped) == 3
    assert "the data is not the same as when" in capsys.readouterr().err
    monkeypatch.undo()
    assert resume(stopped) == 0
    assert_same_bits(stopped, whole)


def test_resuming_a_lone_file_is_refused_and_never_starts_afresh(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = shutil.copy(whole / "checkpoints" / manifest(whole)["last"], tmp_path)
    assert main([f"resume={file}"]) == 2
    assert "is a file; name its run directory" in capsys.readouterr().err
    assert not Path("outputs").exists()
