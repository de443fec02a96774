"""trainer.cuda_graph: a run whose steps are replayed, here from a tape on a CPU instead of a graph on a GPU."""

from __future__ import annotations

import contextlib
import json

import pytest
import torch

from nnrun.assembly import capture, cuda_recorder
from nnrun.cli import main
from nnrun.core.plan import Plan
from support.small_runs import train
from support.tape import TapeRecorder
from support.texts import make_texts

RUN = ("data.limit=300", "trainer.epochs=4", "trainer.log_every_steps=4", "trainer.cuda_graph=true")
OWN = """
import torch
from nnrun.api import Callback

class Looks(Callback):
    def on_gradients_ready(self, state):
        pass

class Reads(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(784, 10)

    def forward(self, inputs):
        return self.layer(inputs.flatten(1)) * (1.0 if inputs.sum().item() else 2.0)
"""


@pytest.fixture
def tapes(monkeypatch) -> list:
    """The tapes of the trainings of a test, on a CPU that passes for a GPU where capturing is decided."""
    recorders: list[TapeRecorder] = []

    def recorder(*_, **__) -> TapeRecorder:
        recorders.append(TapeRecorder())
        return recorders[-1]

    monkeypatch.setattr(capture, "is_gpu", lambda device: True)
    monkeypatch.setattr(cuda_recorder, "CudaRecorder", recorder)
    return recorders


def rows(run) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_captured_run_is_the_run_itself_and_resumes_to_the_same_bits(tmp_path, tapes, capsys, monkeypatch):
    monkeypatch.setattr(capture, "_LEAST_BATCHES", 1)
    assert train(tmp_path / "whole", "model=cnn", *RUN) == 0
    assert len(tapes[0].tapes) >= 3
    said = capsys.readouterr().out
    assert "training steps are launched as one CUDA graph" in said
    assert "validations are launched as one CUDA graph a batch" in said
    assert train(tmp_path / "run", "model=cnn", *RUN, stop=9) == 143
    with contextlib.chdir(tmp_path):
        assert main([f"resume={tmp_path / 'run'}"]) == 0
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()
    assert train(tmp_path / "plain", "model=cnn", *RUN, "trainer.cuda_graph=false") == 0
    assert len(tapes) == 3
    for ours, theirs in zip(rows(tmp_path / "whole"), rows(tmp_path / "plain"), strict=True):
        assert ours["split"] == theirs["split"]
        assert ours.get("loss") == pytest.approx(theirs.get("loss"), rel=1e-3)


def test_a_checkpoint_of_a_captured_run_goes_on_where_there_is_no_gpu(tmp_path, tapes, monkeypatch):
    assert train(tmp_path / "run", "model=cnn", *RUN, stop=9) == 143
    monkeypatch.setattr(capture, "is_gpu", lambda device: False)
    with contextlib.chdir(tmp_path):
        assert main([f"resume={tmp_path / 'run'}"]) == 0
    assert len(tapes) == 1


@pytest.mark.parametrize("auto", [False, True])
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["+callback.looks._target_=own.Looks"], "Looks looks at the gradients of each update"),
        (["data.residency=stream"], "the samples are not on the device (data.residency=device puts them there)"),
        (["model=reads"], "model fails with ReadByTheHost"),
        (
            [
                "model=bag",
                "data=text",
                "data.root=reviews.csv",
                "data.text=review",
                "data.target=label",
                "trainer.epochs=20",
            ],
            "samples have different lengths, and so do batches",
        ),
    ],
)
@pytest.mark.usefixtures("tapes")
def test_what_cannot_be_captured_says_why(tmp_path, capsys, words, why, auto):
    """Asked for it is an error; by itself the run goes on without."""
    (tmp_path / "own.py").write_text(OWN)
    make_texts(tmp_path / "reviews.csv", 300)
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/reads.yaml").write_text("_target_: own.Reads\n")
    switch = ["trainer.cuda_graph=auto", "trainer.epochs=12", "early_stopping=none"] if auto else []
    code = train(tmp_path / "run", *RUN, *switch, *words)
    out, err = capsys.readouterr()
    assert code == (0 if auto else 2), err
    if auto and words == ["model=reads"]:
        why = "is custom code, which may change values on the host"
    said = "training steps are not launched as one CUDA graph: " if auto else "the step cannot be captured: "
    assert said in (out if auto else err)
    assert why in (out if auto else err)


@pytest.mark.parametrize(
    ("plan", "num_valid", "expected"),
    [
        (Plan(4, 40, 1, 10), 7, 21),  # four validations, the first of which is never replayed
        (Plan(4, 35, 1, 10), 7, 21),
        (Plan(4, 40, 1, 10, validate_every_steps=5), 1, 11),
        (Plan(4, 20, 2, 10), 7, 21),
    ],
)
def test_the_batches_of_validations_that_are_replayed_are_counted(plan, num_valid, expected):
    assert capture.num_replayed(plan, 10, num_valid) == expected


def test_auto_captures_no_short_training(tmp_path, tapes):
    assert train(tmp_path / "run", *RUN, "trainer.cuda_graph=auto", "trainer.max_steps=20") == 0
    assert tapes == []
    saved = torch.load(next((tmp_path / "run/checkpoints").glob("*.ckpt")), weights_only=True)
    assert saved["config"]["trainer"]["cuda_graph"] is False
