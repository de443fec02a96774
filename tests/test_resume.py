"""A run that is stopped anywhere and resumed gives the bits of one that was never stopped.

Checkpoint files carry the sha256 of all that a training's future depends on in their names, so equal names are equal
bits; metrics.jsonl is compared byte for byte.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import nnrun.core.loop
from nnrun.cli import main
from nnrun.core.checkpoint import CheckpointFolder
from nnrun.core.randomness import seed_step
from nnrun.data.digits import Digits
from nnrun.errors import InterruptedRun
from nnrun.signals import StopRequest

# 160 training samples in 6 batches, the last of them of 10; 40 for validation in 3 batches; dropout is in the network.
WORDS = (
    "model=mlp",
    "data.limit=200",
    "data.val_fraction=0.2",
    "data.batch_size=30",
    "data.eval_batch_size=16",
    "trainer.epochs=3",
    "trainer.log_every_steps=2",
    "trainer.progress=false",
    "export=none",
)
STEPS, VALID_BATCHES = 6, 3
POLLS = STEPS + VALID_BATCHES
# Where a run is stopped, as the number of the poll, from 1, that sees the signal.
STOPS = {
    "first step": 1,
    "mid-epoch": POLLS + 3,
    "an epoch's last step": POLLS + STEPS,
    "in a validation": POLLS + STEPS + 2,
    "an epoch's last validation batch": 2 * POLLS,
    "last epoch": 2 * POLLS + 3,
    "the final measuring": 3 * POLLS + 2,
}


@contextlib.contextmanager
def stop_at(poll: int | None):
    """Let a SIGTERM come at a poll: the same point in every test run, unlike a signal."""
    original, left = StopRequest.poll, poll

    def counted(request: StopRequest) -> None:
        nonlocal left
        if left is not None:
            left -= 1
            if left == 0:
                raise InterruptedRun(signal.SIGTERM)
        original(request)

    StopRequest.poll = counted
    try:
        yield
    finally:
        StopRequest.poll = original


def train(run: Path, *words: str, stop: int | None = None) -> int:
    with contextlib.chdir(run.parent), stop_at(stop):
        return main([*WORDS, *words, f"hydra.run.dir={run}"])


def resume(run: Path, *words: str, stop: int | None = None) -> int:
    with contextlib.chdir(run.parent), stop_at(stop):
        return main([f"resume={run}", *words])


def manifest(run: Path) -> dict:
    return json.loads((run / "checkpoints" / "manifest.json").read_text())


def assert_same_bits(run: Path, other: Path) -> None:
    assert (run / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    ours, theirs = manifest(run), manifest(other)
    assert (ours["best"], ours["last"]) == (theirs["best"], theirs["last"])
    # The checkpoint of the stop itself takes a place among the newest: one side may have fewer of a step.
    for step in {entry["step"] for entry in ours["files"]} & {entry["step"] for entry in theirs["files"]}:
        names = [{entry["name"] for entry in side["files"] if entry["step"] == step} for side in (ours, theirs)]
        assert names[0] <= names[1] or names[1] <= names[0]
    for result in ("metrics", "best"):
        assert summary(run)[result] == summary(other)[result]


def summary(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text())


def status(run: Path) -> dict:
    return json.loads((run / "status.json").read_text())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert train(run) == 0
    return run


@pytest.fixture(scope="module")
def _stopped(tmp_path_factory):
    run = tmp_path_factory.mktemp("stopped") / "run"
    assert train(run, stop=STOPS["mid-epoch"]) == 143
    return run


@pytest.fixture
def stopped(_stopped, tmp_path):
    """A run stopped in the middle of its second epoch, the test's own copy."""
    return Path(shutil.copytree(_stopped, tmp_path / "run"))


def test_a_seed_is_a_run_and_another_seed_another(whole, tmp_path):
    assert train(tmp_path / "again") == 0
    assert_same_bits(tmp_path / "again", whole)
    assert manifest(tmp_path / "again") == manifest(whole)
    assert train(tmp_path / "other", "seed=1") == 0
    assert {entry["sha256"] for entry in manifest(tmp_path / "other")["files"]}.isdisjoint(
        entry["sha256"] for entry in manifest(whole)["files"]
    )
    with pytest.raises(AssertionError):
        assert_same_bits(tmp_path / "other", whole)


@pytest.mark.parametrize("where", STOPS)
def test_a_run_stopped_anywhere_resumes_to_the_same_bits(whole, tmp_path, where, capsys):
    run = tmp_path / "run"
    assert train(run, stop=STOPS[where]) == 143
    assert status(run)["state"] == "interrupted"
    if where != "the final measuring":
        assert f"go on with: nnrun resume={run}" in capsys.readouterr().err
    assert resume(run) == 0
    assert_same_bits(run, whole)
    assert status(run)["state"] == "finished"


def test_a_run_stopped_over_and_over_resumes_to_the_same_bits(whole, tmp_path):
    run = tmp_path / "run"
    assert train(run, stop=2) == 143
    assert [resume(run, stop=polls) for polls in (5, 1, 6, 4)] == [143] * 4
    assert resume(run) == 0
    assert_same_bits(run, whole)


OPTIONS: dict[str, Sequence[str]] = {
    "accumulate": ["trainer.accumulate=2", "trainer.log_every_steps=1"],
    "ema": ["trainer.ema_decay=0.9"],
    "clip": ["trainer.grad_clip_norm=0.5"],
    "every step saved": ["trainer.checkpoint_every_steps=1"],
    "max_steps": ["trainer.max_steps=16"],
    "cosine": ["scheduler=cosine"],
    "exponential": ["scheduler=exponential", "scheduler.gamma=0.5"],
    "multistep": ["scheduler=multistep"],
    "onecycle": ["scheduler=onecycle"],
    "plateau": ["scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.5"],
    "step": ["scheduler=step", "scheduler.step_size=1"],
    "warmup_cosine": ["scheduler=warmup_cosine", "scheduler.warmup_fraction=0.5"],
    "memory": ["data.residency=memory"],
    "stream": ["data.residency=stream", "data.num_workers=2"],
    "bf16": ["trainer.precision=bf16"],
    "sgd": ["optimizer=sgd"],
    "muon": ["optimizer=muon"],
    "cnn": ["model=cnn", "model.channels=[4,4]", "model.hidden=16", "model.dropout=0.5"],
    "all": [
        "trainer.accumulate=2",
        "trainer.ema_decay=0.9",
        "trainer.grad_clip_norm=0.5",
        "scheduler=onecycle",
        "trainer.precision=bf16",
        "optimizer=adamw",
    ],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_resumed_bits_are_the_same_under_every_option(tmp_path, name):
    """Stopped in the middle of the first epoch, and then, resumed, in the validation of the second."""
    words = OPTIONS[name]
    steps = 3 if "trainer.accumulate=2" in words else STEPS
    first = steps // 2
    assert train(tmp_path / "whole", *words) == 0
    assert train(tmp_path / "run", *words, stop=first) == 143
    assert resume(tmp_path / "run", stop=steps - first + VALID_BATCHES + steps + 2) == 143
    assert manifest(tmp_path / "run")["files"][-1]["step"] == 2 * steps
    assert resume(tmp_path / "run") == 0
    assert_same_bits(tmp_path / "run", tmp_path / "whole")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / manifest(run)["last"], weights_only=True)["model"]


def test_residency_changes_no_bit_and_may_change_on_resume(whole, tmp_path):
    run = tmp_path / "stream"
    assert train(run, "data.residency=stream", "data.num_workers=2", stop=STOPS["mid-epoch"]) == 143
    assert resume(run, "data.residency=device", "data.num_workers=0") == 0
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    ours = weights(whole)
    assert all(torch.equal(weight, ours[name]) for name, weight in weights(run).items())


def test_early_stopping_remembers_the_patience_that_is_used_up(tmp_path):
    """At this rate nothing gets better after epoch 1: a patience of 3 ends it after epoch 4.

    Negative control: with the count forgotten at the stop in epoch 3, it ends after epoch 6.
    """
    words = ["optimizer=sgd", "optimizer.lr=1e-30", "early_stopping.patience=3", "trainer.epochs=9"]
    assert train(tmp_path / "whole", *words) == 0
    for name, forget in (("run", False), ("control", True)):
        run = tmp_path / name
        assert train(run, *words, stop=2 * POLLS + 3) == 143
        if forget:
            tamper(run, lambda training: training["callbacks"]["EarlyStopping"].update(reference=None, bad_epochs=0))
        assert resume(run) == 0
    assert summary(tmp_path / "whole")["train"]["epochs"] == 4
    assert_same_bits(tmp_path / "run", tmp_path / "whole")
    assert summary(tmp_path / "control")["train"]["epochs"] == 6


def tamper(run: Path, change) -> None:
    """Change the training's state in the last checkpoint, and save it as a proper one."""
    path = run / "checkpoints" / manifest(run)["last"]
    payload = torch.load(path, weights_only=True)
    change(payload["training"])
    del payload["schema"]
    folder = CheckpointFolder(run, keep_last=2)
    folder.save(payload, payload["training"]["progress"]["step"], is_best=False)
    assert folder.manifest.last != path.name


def _forget_moments(training: dict) -> None:
    for state in training["optimizer"]["state"].values():
        state["exp_avg"].zero_()


def test_negative_control_a_lost_optimizer_state_shows(whole, stopped):
    tamper(stopped, _forget_moments)
    assert resume(stopped) == 0
    with pytest.raises(AssertionError):
        assert_same_bits(stopped, whole)


def test_negative_control_lost_random_numbers_show(whole, stopped, monkeypatch):
    monkeypatch.setattr(nnrun.core.loop, "seed_step", lambda device, seed, *where: seed_step(device, seed + 1, *where))
    assert resume(stopped) == 0
    with pytest.raises(AssertionError):
        assert_same_bits(stopped, whole)


def test_a_finished_run_says_so_and_stays_as_it_is(whole, capsys):
    before = tree(whole)
    assert resume(whole) == 0
    assert "is finished after 3 epochs; a larger trainer.epochs would go on: nothing to do" in capsys.readouterr().out
    assert tree(whole) == before


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
    assert "trainer.epochs: 3 -> 5, under a schedule over the whole run" in capsys.readouterr().err
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
        (["seed=7", "trainer.accumulate=2"], "trainer.accumulate: 1 -> 2"),
    ],
)
def test_a_config_that_would_have_changed_the_past_is_refused_with_a_diff(stopped, capsys, words, difference):
    before = tree(stopped)
    assert resume(stopped, *words) == 2
    error = capsys.readouterr().err
    assert difference in error
    assert "would have changed its past" in error
    assert tree(stopped) == before


def test_what_changes_nothing_in_the_past_may_change(whole, stopped):
    assert resume(stopped, "trainer.keep_last=5", "trainer.progress=false", "data.num_workers=0") == 0
    assert (stopped / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_a_damaged_newest_checkpoint_falls_back_loudly_to_the_same_bits(whole, stopped, capsys):
    damaged, before = (stopped / "checkpoints" / entry["name"] for entry in reversed(manifest(stopped)["files"][-2:]))
    flip(damaged)
    assert resume(stopped) == 0
    said = "".join(capsys.readouterr())
    said = " ".join(said.split())
    assert f"falling back to {before.name}: 3 steps are lost and trained again" in said
    assert f"{damaged.name} is damaged: its sha256 is not the one it was saved with" in said
    assert_same_bits(stopped, whole)


def test_when_every_checkpoint_is_damaged_nothing_is_started_afresh(stopped, capsys):
    for entry in manifest(stopped)["files"]:
        flip(stopped / "checkpoints" / entry["name"])
    before = tree(stopped)
    assert resume(stopped) == 4
    error = capsys.readouterr().err
    assert all(entry["name"] in error for entry in manifest(stopped)["files"])
    assert "holds no checkpoint that is whole" in error
    assert tree(stopped) == before


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


def test_a_run_directory_that_was_moved_resumes(whole, stopped, tmp_path):
    elsewhere = tmp_path / "an other = place, [é]" / "run"
    elsewhere.parent.mkdir()
    shutil.move(stopped, elsewhere)
    assert resume(elsewhere) == 0
    assert_same_bits(elsewhere, whole)
    assert not stopped.exists()


def test_a_run_that_was_lost_before_its_first_step_resumes(whole, tmp_path):
    """Killed after the untrained state was saved."""
    run = tmp_path / "run"
    assert train(run, stop=1) == 143
    folder = CheckpointFolder(run, 2)
    first, second = folder.manifest.files
    assert (first.step, second.step) == (0, 1)
    (run / "checkpoints" / second.name).unlink()
    assert resume(run) == 0
    assert_same_bits(run, whole)


def test_rows_after_the_checkpoint_are_dropped_even_a_torn_one(whole, stopped):
    """A killed process has written rows that its last checkpoint does not know."""
    with (stopped / "metrics.jsonl").open("a") as file:
        file.write('{"step": 10, "epoch": 2, "split": "train", "loss": 9.0}\n{"step": 12, "epo')
    assert resume(stopped) == 0
    assert_same_bits(stopped, whole)


# Importing torch takes seconds: one process imports it, and each run is a fork of that.
NURSERY = """
import json, os, sys
import nnrun.run
from nnrun.cli import main
for line in sys.stdin:
    folder, words = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(main(words))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture
def nursery():
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def kill(nursery: subprocess.Popen, run: Path, words: Sequence[str], num_rows: int) -> int:
    """Start a run in a process of its own, and kill it as soon as it has written so many rows; return its exit code."""
    nursery.stdin.write(json.dumps([str(run.parent), [*WORDS, *words, f"hydra.run.dir={run}"]]) + "\n")
    pid = int(nursery.stdout.readline())
    rows = run / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (rows.is_file() and len(rows.read_bytes().splitlines()) >= num_rows):
        time.sleep(random.random() / 1000)
    os.kill(pid, signal.SIGKILL)
    return int(nursery.stdout.readline())


def test_runs_killed_at_random_moments_resume_to_the_same_bits(nursery, tmp_path):
    """SIGKILL, while a checkpoint is saved after every step; the third run has data workers, which outlive it."""
    words = ["trainer.epochs=8", "trainer.checkpoint_every_steps=1", "trainer.log_every_steps=1"]
    whole = tmp_path / "whole"
    assert train(whole, *words) == 0
    for number, streamed in enumerate([False, False, True]):
        run, num_rows = tmp_path / f"run{number}", random.randint(1, 40)
        more = ["data.residency=stream", "data.num_workers=2"] if streamed else []
        assert kill(nursery, run, [*words, *more], num_rows) == -signal.SIGKILL
        assert status(run)["state"] == "running"
        assert resume(run, *(["data.residency=device", "data.num_workers=0"] if streamed else [])) == 0
        same = (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
        assert same, f"killed after {num_rows} rows"
        if not streamed:
            assert_same_bits(run, whole)


def test_the_latest_run_resumes_by_its_link(whole, tmp_path, monkeypatch, capsys):
    """`outputs/latest` is set anew when a run starts: it must not come to point at itself."""
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, "trainer.max_steps=4"]) == 0
    latest = Path("outputs/latest")
    first = latest.resolve()
    assert main(["resume=outputs/latest"]) == 0  # finished: says so
    with stop_at(POLLS + 3):
        assert main(list(WORDS)) == 128 + signal.SIGTERM
    stopped = latest.resolve()
    assert stopped != first
    assert main(["resume=outputs/latest"]) == 0
    assert latest.resolve() == stopped
    assert_same_bits(stopped, whole)
    assert main(["init_from=outputs/latest", *WORDS]) == 0
    assert latest.resolve() not in (first, stopped)
    shutil.rmtree(latest.resolve())
    assert main(["ckpt=outputs/latest"]) == 4
    assert "is a link to" in capsys.readouterr().err


def test_naming_the_saved_class_changes_nothing_that_was_saved(tmp_path, monkeypatch):
    """An option's file holds defaults, and those never win over what was saved; what is typed does."""
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, "model.hidden=[24]", "hydra.run.dir=narrow"]) == 0
    assert main(["ckpt=narrow", "model=mlp", "hydra.run.dir=same"]) == 0
    assert summary(Path("same"))["metrics"] == summary(Path("narrow"))["metrics"]
    assert main(["ckpt=narrow", "model=mlp", "model.hidden=[25]", "hydra.run.dir=typed"]) == 4
    assert main(["ckpt=narrow", "model=cnn", "hydra.run.dir=other"]) == 4


def test_a_damaged_best_checkpoint_is_said_and_the_best_of_what_follows_takes_its_place(tmp_path, capsys):
    run = tmp_path / "run"
    assert train(run, stop=2 * POLLS + 3) == 128 + signal.SIGTERM
    best = manifest(run)["best"]
    assert best != manifest(run)["last"]
    flip(run / "checkpoints" / best)
    capsys.readouterr()
    assert resume(run) == 0
    assert f"the best checkpoint {best} is damaged" in capsys.readouterr().out
    assert summary(run)["best"]["epoch"] == 3
    assert manifest(run)["best"] != best


def test_resuming_a_lone_file_is_refused_and_never_starts_afresh(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = shutil.copy(whole / "checkpoints" / manifest(whole)["last"], tmp_path)
    assert main([f"resume={file}"]) == 2
    assert "is a file; name its run directory" in capsys.readouterr().err
    assert not Path("outputs").exists()


def test_a_setting_that_would_have_no_effect_on_a_finished_run_is_said(whole, capsys):
    assert resume(whole, "trainer.keep_last=5") == 2
    assert "trainer.keep_last would have no effect" in capsys.readouterr().err
