"""Jobs that are trained together: each is as if it had run alone, but for the rounding of its products."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from nnrun.base.errors import ConfigError, InterruptedRun, SweepFailed
from nnrun.base.signals import stop_request
from nnrun.cli import collect_rules, compose
from nnrun.sweeps.seams import Decision, Ended, Order, Progress
from nnrun.sweeps.shelves import OwnShelf
from nnrun.sweeps.stack.job import StackedJob, StackSetup
from nnrun.sweeps.stack.reasons import why_not
from nnrun.sweeps.stack.stack import Stack
from nnrun.sweeps.sweep import sweep
from nnrun.tasks.table import perform
from support.command_line import OWN
from support.small_runs import WORDS

# How far the numbers of a stack may be from those of a single run, relative to the larger, on a CPU in fp32.
TOLERANCE = 1e-4


def go_on(_: Progress) -> Decision:
    return Decision.GO_ON


def run_stacked(
    folder: Path,
    jobs: Mapping[int, Sequence[str]],
    decide: Callable[[Progress], Decision] = go_on,
    *,
    resumes: bool = False,
    own: Sequence[Path] = (),
) -> dict[int, Ended]:
    """Run jobs as one stack, each in the folder of its number."""
    orders = [
        Order(number, words, folder / str(number), resumes, compose(words, own)) for number, words in jobs.items()
    ]
    for order in orders:
        order.directory.mkdir(parents=True, exist_ok=resumes)
    setup = StackSetup(own, collect_rules(), print, decide, OwnShelf())
    stack, ended = Stack(orders, setup), dict[int, Ended]()
    with stop_request():
        while not stack.has_ended:
            for event in stack.wait(60):
                if isinstance(event, Ended):
                    ended[event.number] = event
                elif event.awaits:
                    stack.answer(event.number, decide(event))
    return ended


def run_alone(folder: Path, words: Sequence[str], own: Sequence[Path] = ()) -> None:
    folder.mkdir(parents=True)
    perform(compose(words, own), words, folder)


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(run: Path, kind: str = "best") -> Mapping[str, torch.Tensor]:
    name = json.loads((run / "checkpoints/manifest.json").read_text())[kind]
    return torch.load(run / "checkpoints" / name, weights_only=True)["model"]


def apart(one: Path, other: Path) -> float:
    """Return how far two runs are apart: the largest relative difference of a logged number or of a weight."""
    ours, theirs = rows(one), rows(other)
    assert [(row["step"], row["split"], sorted(row)) for row in ours] == [
        (row["step"], row["split"], sorted(row)) for row in theirs
    ]
    pairs = [
        (torch.tensor(float(value)), torch.tensor(float(row[name])))
        for mine, row in zip(ours, theirs, strict=True)
        for name, value in mine.items()
        if name != "split"
    ]
    saved = weights(other)
    pairs += [(tensor.float(), saved[name].float()) for name, tensor in weights(one).items()]
    return max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-3)) for a, b in pairs)


LARGE = ["early_stopping.min_delta=100", "early_stopping.patience=1"]
JOBS = {
    0: [*WORDS, "optimizer.lr=1e-3"],
    1: [*WORDS, "seed=1", "optimizer.lr=1e-2", "model.dropout=0.5", "loss.label_smoothing=0.1", "optimizer=adamw"],
    2: [*WORDS, "seed=2", "optimizer=sgd", "optimizer.lr=0.1", "scheduler=cosine", "trainer.grad_clip_norm=1.0"],
    3: [*WORDS, "optimizer.betas=[0.8,0.99]", "trainer.ema_decay=0.9", "trainer.accumulate=2", *LARGE],
    4: [*WORDS, "augment=mixup", "trainer.validate_every_steps=4", "trainer.checkpoint_every_steps=5"],
}


def test_each_job_of_a_stack_is_as_if_it_had_run_alone(tmp_path: Path) -> None:
    ended = run_stacked(tmp_path / "stack", JOBS)
    assert {number: (each.exit_code, each.reason) for number, each in ended.items()} == dict.fromkeys(JOBS, (0, ""))
    for number, words in JOBS.items():
        run_alone(tmp_path / "alone" / str(number), words)
        assert apart(tmp_path / "alone" / str(number), tmp_path / "stack" / str(number)) < TOLERANCE, words
    # One of them stopped early, as it does alone; the others went on.
    assert [ended[number].summary["train"]["epochs"] for number in JOBS] == [3, 3, 3, 2, 3]
    # The negative control: other draws are far away.
    run_alone(tmp_path / "other", [*JOBS[0], "seed=5"])
    assert apart(tmp_path / "other", tmp_path / "stack" / "0") > 100 * TOLERANCE


def test_jobs_that_are_paused_resume_to_the_same_bits_whatever_else_is_in_the_stack(tmp_path: Path) -> None:
    jobs = {number: JOBS[number] for number in (0, 1, 4)}
    run_stacked(tmp_path / "whole", jobs)
    ended = run_stacked(
        tmp_path / "parts",
        jobs,
        lambda told: Decision.PAUSE if told.number and told.epoch >= told.number / 2 else Decision.GO_ON,
    )
    assert {number: each.exit_code for number, each in ended.items()} == {0: 0, 1: 143, 4: 143}
    assert [len(rows(tmp_path / "parts" / str(number))) for number in (0, 1, 4)] == [13, 4, 10]
    # They are at different steps, and the third job is not there.
    run_stacked(tmp_path / "parts", {number: jobs[number] for number in (4, 1)}, resumes=True)
    for number in jobs:
        one, other = (tmp_path / name / str(number) for name in ("whole", "parts"))
        assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
        assert (one / "checkpoints/manifest.json").read_bytes() == (other / "checkpoints/manifest.json").read_bytes()


def test_a_job_that_diverges_ends_alone(tmp_path: Path) -> None:
    ended = run_stacked(tmp_path, {0: [*WORDS, "optimizer=sgd", "optimizer.lr=1e30"], 1: JOBS[0]})
    assert {number: each.exit_code for number, each in ended.items()} == {0: 6, 1: 0}
    assert "try a lower optimizer.lr" in ended[0].reason
    assert json.loads((tmp_path / "0/status.json").read_text())["state"] == "diverged"


def test_networks_whose_own_code_draws_train_by_themselves_and_can_be_paused(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    module = OWN["mynet.py"].replace("return super().forward(inputs)", "return F.dropout(super().forward(inputs), 0.1)")
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/mynet.yaml").write_text(OWN["conf/model/mynet.yaml"])
    (tmp_path / "mynet.py").write_text(f"import torch.nn.functional as F\n{module}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ["model=mynet", *WORDS[1:], "trainer.epochs=1"]
    jobs = {0: words, 1: [*words, "seed=1", "trainer.epochs=2"]}
    ended = run_stacked(
        tmp_path / "stack",
        jobs,
        lambda told: Decision.PAUSE if told.number else Decision.GO_ON,
        own=[tmp_path / "conf"],
    )
    assert {number: each.exit_code for number, each in ended.items()} == {0: 0, 1: 143}
    assert {row["step"] for row in rows(tmp_path / "stack/1")} == {row["step"] for row in rows(tmp_path / "stack/0")}
    assert "not stacked: the network cannot be stacked: vmap" in capsys.readouterr().out
    run_alone(tmp_path / "alone", words, [tmp_path / "conf"])
    assert (tmp_path / "alone/metrics.jsonl").read_bytes() == (tmp_path / "stack/0/metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], None),
        (["seed=3", "optimizer=sgd", "loss=focal", "model.dropout=0.4", "trainer.epochs=9"], None),
        (["model.hidden=[64]"], "the jobs differ in model.hidden"),
        (["data.batch_size=16"], "the jobs differ in data.batch_size"),
        (["trainer.precision=bf16"], "trainer.precision=bf16 is not supported; use auto or fp32"),
        (["trainer.max_minutes=1"], "trainer.max_minutes=1 is not supported; use null"),
        (["transfer.freeze=[head.*]"], "transfer.freeze=['head.*'] is not supported; use none"),
    ],
)
def test_jobs_that_cannot_be_trained_together_say_why(words: list[str], reason: str | None) -> None:
    found = why_not(compose(["model=mlp"]), compose(["model=mlp", *words]))
    assert found[:1] == ([] if reason is None else [reason])


def test_a_sweep_trains_together_what_it_can_and_the_others_as_it_would(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*WORDS, "trainer.epochs=1", "model.hidden=[8],[16]", "optimizer.lr=1e-3,-1,1e-2", "hydra.sweep.dir=s"]
    train_alone = StackedJob.train_alone

    def is_stopped(job: StackedJob) -> None:
        job.request.note(signal.SIGTERM)
        train_alone(job)

    # The best is trained again alone; the sweep is stopped there.
    monkeypatch.setattr(StackedJob, "train_alone", is_stopped)
    with pytest.raises(InterruptedRun, match="stopped by a signal: job 3"):
        sweep([*words, "sweep.stack=true", "sweep.parallel=1"], [], collect_rules())
    jobs = {job["number"]: job for job in json.loads(Path("s/sweep.json").read_text())["jobs"]}
    assert {number: (jobs[number]["state"], jobs[number]["stack"]) for number in range(6)} == {
        0: ("finished", 0),
        1: ("failed", None),
        2: ("finished", 0),
        3: ("interrupted", None),
        4: ("failed", None),
        5: ("finished", 3),
    }
    monkeypatch.setattr(StackedJob, "train_alone", train_alone)
    with pytest.raises(SweepFailed, match="2 of 6 jobs failed"):
        sweep(["resume=s"], [], collect_rules())
    jobs = {job["number"]: job for job in json.loads(Path("s/sweep.json").read_text())["jobs"]}
    best, before = Path(jobs[3]["directory"]), Path("s/stacked", Path(jobs[3]["directory"]).name)
    assert (jobs[3]["state"], jobs[3]["is_alone"], Path("s/best").readlink()) == ("finished", True, Path(best.name))
    run_alone(tmp_path / "alone", [*WORDS, "trainer.epochs=1", "model.hidden=[16]", "optimizer.lr=1e-3"])
    runs = [run / "checkpoints/manifest.json" for run in (best, tmp_path / "alone", before)]
    ours, alone, stacked = (json.loads(path.read_text())["last"] for path in runs)  # the name has the file's hash
    assert ours == alone, "the bits of its own command"
    assert ours != stacked, "the negative control"
    assert "note: not all in one stack: the jobs differ in model.hidden" in capsys.readouterr().out
    # The negative control: what a stack does not support trains by itself, and says so.
    skips = [*WORDS, "trainer.epochs=1", "trainer.nonfinite=skip,stop", "sweep.stack=true", "sweep.parallel=1"]
    jobs = sweep([*skips, "hydra.sweep.dir=t"], [], collect_rules())["jobs"]
    assert {job["number"]: (job["stack"], job["is_alone"]) for job in jobs} in (
        {0: (None, False), 1: (1, False)},
        {0: (None, False), 1: (None, True)},
    )
    assert "note: not stacked: trainer.nonfinite=skip is not supported; use stop" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"sweep\.job_minutes has no effect on jobs that are trained together"):
        sweep([*skips, "hydra.sweep.dir=u", "sweep.job_minutes=1"], [], collect_rules())
