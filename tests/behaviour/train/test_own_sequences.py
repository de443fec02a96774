"""A network and a data set of one's own with sequences: several named inputs, loops, branches, one's own `collate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import nnrun
from support.command_line import Outcome, run_here, write_files
from support.small_runs import assert_same_bits, stop_at, summary

MODULE = """\
import torch
from torch import nn

class Walks:
    sequences = ["tokens"]

    def __init__(self, fault=None):
        draw = torch.Generator().manual_seed(0)
        self.fault = fault
        self.rows = []
        for index in range(90):
            length = int(torch.randint(1, 20, (), generator=draw))
            tokens = torch.randint(0, 9, (length,), generator=draw)
            self.rows.append(({"tokens": tokens, "table": [float(index % 5), 1.0]}, int(tokens[0] > 4)))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        sample, label = self.rows[index]
        if index == 7 and self.fault == "other dimension":
            sample = {**sample, "tokens": sample["tokens"][:, None]}
        return ({"words": sample["tokens"]} if self.fault == "other name" else sample), label

class Collated(Walks):
    sequences = ()

    def collate(self, samples):
        if self.fault == "collate":
            return {"tokens": samples[0]["tokens"]}
        tokens = nn.utils.rnn.pad_sequence([sample["tokens"] for sample in samples], batch_first=True)
        lengths = torch.tensor([len(sample["tokens"]) for sample in samples])
        return {"tokens": tokens, "lengths": lengths, "table": torch.tensor([sample["table"] for sample in samples])}

class Steps(nn.Module):
    def __init__(self, num_outputs):
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        self.cell = nn.GRUCell(10, 8)
        self.head = nn.Linear(8, num_outputs)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor, table: torch.Tensor):
        state = table.new_zeros(len(tokens), 8)
        for place in range(tokens.shape[1]):
            now = torch.cat([self.embedding(tokens[:, place]), table], 1)
            state = torch.where((place < lengths)[:, None], self.cell(now, state), state)
        if state.abs().mean() > 0.9:
            state = state / 2
        return self.head(state)

class Mean(nn.Module):
    def __init__(self, vocab_size, num_outputs):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 8)
        self.head = nn.Linear(10, num_outputs)

    def forward(self, tokens, lengths, table):
        there = (torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]).float()[:, :, None]
        state = (self.embedding(tokens) * there).sum(1) / there.sum(1)
        return self.head(torch.cat([state, table], 1))

class Wants(Mean):
    def forward(self, tokens, lengths, table, age):
        return super().forward(tokens, lengths, table)
"""
DATA = "# Mine.\ndefaults: [_base]\nname: {0}\ndataset:\n  _target_: seqs.{1}\n  fault: null\n"
VOCABULARY = "vocab_size: ${data.facts.vocab_size}\nnum_outputs: ${data.num_outputs}\n"
FILES = {
    "seqs.py": MODULE,
    "conf/data/walks.yaml": DATA.format("walks", "Walks"),
    "conf/data/collated.yaml": DATA.format("collated", "Collated"),
    "conf/model/steps.yaml": "# Mine.\n_target_: seqs.Steps\nnum_outputs: ${data.num_outputs}\n",
    "conf/model/mean.yaml": f"# Mine.\n_target_: seqs.Mean\n{VOCABULARY}",
    "conf/model/wants.yaml": f"# Mine.\n_target_: seqs.Wants\n{VOCABULARY}",
}
WORDS = ("data.batch_size=16", "trainer.epochs=3", "trainer.progress=false", "optimizer.lr=0.02", "report=none")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("seqs")
    write_files(home, FILES)
    return home


def run(home: Path, name: str, *words: str, stop: int | None = None) -> Outcome:
    with stop_at(stop):
        return run_here([*words, f"hydra.run.dir={home / name}"], home)


@pytest.fixture(scope="module", params=["walks", "collated"])
def trained(home: Path, request: pytest.FixtureRequest) -> Path:
    """A network that loops over the length and branches on values."""
    words = (f"data={request.param}", "model=steps", *WORDS, "export=safetensors")
    outcome = run(home, request.param, *words)
    assert (outcome.code, outcome.err) == (0, ""), outcome.out
    return home / request.param


def test_it_is_trained_resumed_to_the_same_bits_and_evaluated(home: Path, trained: Path) -> None:
    name = trained.name
    assert summary(trained)["artifacts"]["safetensors"]["ok"]
    words = (f"data={name}", "model=steps", *WORDS, "export=safetensors")
    assert run(home, f"{name}-stopped", *words, stop=7).code == 143
    assert run_here([f"resume={home / name}-stopped", "trust=[seqs]"], home).code == 0
    assert_same_bits(home / f"{name}-stopped", trained)
    assert run(home, f"{name}-again", f"ckpt={trained}", "trust=[seqs]").code == 0
    assert summary(home / f"{name}-again")["metrics"] == summary(trained)["metrics"]
    assert run(home, f"{name}-stream", *words, "data.residency=stream", "data.num_workers=1", "export=none").code == 0
    assert summary(home / f"{name}-stream")["metrics"] == summary(trained)["metrics"]


def test_more_padding_gives_the_same_scores(trained: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program gives the same tensors by name."""
    monkeypatch.syspath_prepend(home)
    tokens, table = torch.tensor([[3, 5, 1, 0, 0], [8, 1, 2, 3, 4]]), torch.ones(2, 2)
    lengths = torch.tensor([3, 5])
    with nnrun.predictor(trained, trust=["seqs"]) as predictor:
        rows = [
            predictor({"tokens": torch.nn.functional.pad(tokens, (0, more)), "lengths": lengths, "table": table})
            for more in (0, 6)
        ]
        other = predictor({"tokens": tokens, "lengths": lengths - 1, "table": table})
    assert rows[0] == rows[1]
    assert rows[0] != other, "the negative control"


def test_the_artifact_takes_the_inputs_by_name_at_any_length(home: Path) -> None:
    outcome = run(home, "mean", "data=walks", "model=mean", *WORDS, "trainer.epochs=1")
    assert (outcome.code, outcome.err) == (0, ""), outcome.out
    found = summary(home / "mean")
    row = found["artifacts"]["onnx"]
    assert (row["ok"], row["agreement"]) == (True, 1.0)
    assert found["data"]["in_shape"] == {"tokens": [None], "table": [2], "lengths": []}
    session = onnxruntime.InferenceSession(home / "mean" / "exports" / "onnx" / "model.onnx")
    assert {of.name: of.shape for of in session.get_inputs()} == {
        "tokens": ["batch", "length"],
        "table": ["batch", 2],
        "lengths": ["batch"],
    }
    given = {"table": np.ones((1, 2), np.float32), "lengths": np.array([2])}
    tokens = np.array([[4, 2, 0, 0]])
    scores = [session.run(None, {**given, "tokens": one})[0] for one in (tokens, tokens[:, :2])]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["data=walks", "model=wants"], 2, "forward also takes age; a sample has tokens, table, lengths"),
        (["data=walks", "data.dataset.fault=other dimension"], 3, "sample 7: tokens is (3, 1) of int64, but (16,)"),
        (["data=walks", "data.dataset.fault=other name"], 3, "sequences lists tokens, but a sample has words"),
        (["data=collated", "data.dataset.fault=collate"], 3, "collate returns tokens"),
    ],
)
def test_what_does_not_fit_is_named(home: Path, words: Sequence[str], code: int, says: str) -> None:
    name = words[-1].replace("=", "-").replace(" ", "-")
    outcome = run(home, name, "model=steps", *words, *WORDS, "export=none")
    assert (outcome.code, outcome.err.startswith("nnrun: ")) == (code, True), outcome.err
    assert says in outcome.err
