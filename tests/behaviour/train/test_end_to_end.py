"""Every network of tables and texts, and one of one's own, from the file to predictions without nnrun."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnrun
from support.command_line import Outcome, environment, run_here, write_files
from support.small_runs import assert_same_bits, manifest, status, stop_at, summary
from support.texts import make_texts

pytestmark = pytest.mark.usefixtures("warm_python")

WORDS = (
    *("data.batch_size=16", "optimizer.lr=0.02", "trainer.epochs=2", "trainer.progress=false"),
    *("data.val_fraction=0.2", "early_stopping=none"),
)
# In the second epoch: each has at least three steps, and a batch for validation.
STOP = 7
TABLE = ("data=table", "data.root=houses.csv", "data.target=sold")
TEXT = ("data=text", "data.root=reviews.csv", "data.text=review", "data.target=label", "model.dim=8")
NETWORKS = {
    "tabular": (*TABLE, "model=tabular", "model.hidden=[16]"),
    "tabm": (*TABLE, "model=tabm", "model.hidden=[16]", "model.members=4"),
    "mlp": (*TABLE, "model=mlp", "model.hidden=[16]"),
    "linear": (*TABLE, "model=linear"),
    "bag": (*TEXT, "model=bag", "model.buckets=100"),
    "gru": (*TEXT, "model=gru", "model.hidden=8"),
    "lstm": (*TEXT, "model=lstm", "model.hidden=8"),
    "textcnn": (*TEXT, "model=textcnn", "model.filters=4"),
    "transformer": (*TEXT, "model=transformer", "model.depth=1", "model.heads=2"),
    "own": ("data=walks", "model=mean"),
}
OF_TABLES, OF_TEXTS = list(NETWORKS)[:4], list(NETWORKS)[4:9]
# One of each kind: a sweep does not know which network it trains.
SWEPT = ("linear", "bag", "own")
COLUMNS = ("area", "city", "built", "heated")

OWN = """\
import torch
from torch import nn

class Walks:
    sequences = ["tokens"]

    def __init__(self):
        draw = torch.Generator().manual_seed(0)
        self.rows = []
        for index in range(80):
            tokens = torch.randint(0, 9, (int(torch.randint(1, 20, (), generator=draw)),), generator=draw)
            self.rows.append(({"tokens": tokens, "table": [float(index % 5), 1.0]}, int(tokens[0] > 4)))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]

class Mean(nn.Module):
    def __init__(self, vocab_size, num_outputs):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 8)
        self.head = nn.Linear(10, num_outputs)

    def forward(self, tokens, lengths, table):
        there = (torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]).float()[:, :, None]
        state = (self.embedding(tokens) * there).sum(1) / there.sum(1)
        return self.head(torch.cat([state, table], 1))
"""
OWN_FILES = {
    "walks.py": OWN,
    "conf/data/walks.yaml": "# Mine.\ndefaults: [_base]\nname: walks\ndataset:\n  _target_: walks.Walks\n",
    "conf/model/mean.yaml": "# Mine.\n_target_: walks.Mean\nvocab_size: ${data.facts.vocab_size}\n"
    "num_outputs: ${data.num_outputs}\n",
}
# What the network of one's own is asked: sequences of different length, padded, with the other inputs.
ASKED = {
    "tokens": [[3, 5, 1, 0, 0], [8, 1, 2, 3, 4], [7, 0, 0, 0, 0]],
    "lengths": [3, 5, 1],
    "table": [[0.0, 1.0], [4.0, 1.0], [2.0, 1.0]],
}
TYPES = {"tokens": "int64", "lengths": "int64", "table": "float32"}

# Reads the files itself, and asks ONNX Runtime: what a stranger writes who has the exports alone.
STRANGER = """\
import csv, json, sys
from pathlib import Path
sys.modules.update(nnrun=None, torch=None)  # neither can be imported
import numpy as np
import onnxruntime

def cells_of(node, rows):
    cells = [row[node.name] for row in rows]
    return np.array(cells, object) if node.type == "tensor(string)" else np.float32([cell or "nan" for cell in cells])

def inputs_of(session, model, given):
    if isinstance(given, dict):
        return {name: np.array(values, kind) for name, (values, kind) in given.items()}
    with open(given, newline="") as file:
        if given.endswith(".csv"):
            rows = list(csv.DictReader(file))
            return {node.name: cells_of(node, rows) for node in session.get_inputs()}
        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(str(Path(model).with_name("tokenizer.json")))
        rows = [tokenizer.encode(line.rstrip()).ids[:256] for line in file]
    length = max(map(len, rows))
    return {"input": np.array([row + [0] * (length - len(row)) for row in rows], "int64")}

for line in sys.stdin:
    model, given = json.loads(line)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], inputs_of(session, model, given))
    powers = np.exp(scores - scores.max(1, keepdims=True))
    probabilities = powers / powers.sum(1, keepdims=True)
    names = json.loads(session.get_modelmeta().custom_metadata_map["nnrun.class_names"])
    rows = [[names[row.argmax()], float(row.max())] for row in probabilities]
    assert not any(name.startswith(("nnrun.", "torch.")) for name in sys.modules)
    print(json.dumps(rows), flush=True)
"""

Ask = Callable[[Path, "str | dict[str, Any]"], list[tuple[str, float]]]


@dataclass(frozen=True)
class Trained:
    """A run of a network, and the folder that it was started in."""

    network: str
    home: Path

    @property
    def trust(self) -> list[str]:
        """What lets a checkpoint load code of one's own."""
        return ["trust=[walks]"] if self.network == "own" else []

    @property
    def run(self) -> Path:
        return self.home / "run"

    def start(self, name: str, *words: str, stop: int | None = None) -> Outcome:
        """Run in a directory of that name; a stop is a SIGTERM at that poll."""
        with stop_at(stop):
            return run_here([*words, f"hydra.run.dir={self.home / name}"], self.home)


def houses(number: int, seed: int) -> list[str]:
    """Lines of houses, and whether they were sold: some areas and cities are not known."""
    draw = np.random.default_rng(seed)
    lines = [",".join(("id", *COLUMNS, "sold"))]
    for index in range(number):
        area, city = draw.lognormal(4, 0.4), draw.choice(["Rome", "Oslo", "Bern", ""])
        known = "" if index % 9 == 0 else f"{area:.2f}"
        heated = draw.choice(["yes", "no"])
        sold = "soon" if area > 55 or city == "Oslo" else "late"
        lines.append(f"h{index},{known},{city},{draw.integers(1900, 2020)},{heated},{sold}")
    return lines


def write_data(home: Path) -> None:
    """Write a table and texts, and new ones of each to predict for."""
    # Columns in another order, without the target, and a city that the training does not have.
    rows = [",".join(line.split(",")[4:0:-1]) for line in houses(30, seed=1)] + ["yes,1950,Ulm,48.5"]
    write_files(home, {"houses.csv": "\n".join(houses(90, seed=0)) + "\n", "new.csv": "\n".join(rows) + "\n"})
    make_texts(home / "reviews.csv", 80)
    write_files(home, {"new.txt": "a good film\nthe plot was awful and poor and awful\nunheard\n"})


@pytest.fixture(scope="module", params=NETWORKS)
def trained(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Trained:
    trained = Trained(request.param, tmp_path_factory.mktemp(request.param))
    if trained.network == "own":
        write_files(trained.home, OWN_FILES)
    else:
        write_data(trained.home)
    outcome = trained.start("run", *NETWORKS[trained.network], *WORDS)
    assert (outcome.code, outcome.err) == (0, ""), outcome.out
    return trained


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """What a process without nnrun makes of a file, or of arrays, by an ONNX file: a class and its probability."""
    # It names sys.modules, and is no fork of a process that has imported torch.
    command = [sys.executable, "-I", "-c", STRANGER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def answer(model: Path, given: str | dict[str, Any]) -> list[tuple[str, float]]:
            print(json.dumps([str(model), given]), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        yield answer
        process.stdin.close()
        assert process.wait() == 0


def test_it_is_proven_and_reported(trained: Trained) -> None:
    found = summary(trained.run)
    row = found["artifacts"]["onnx"]
    tested = found["data"]["splits"]["test"]["samples"]
    assert (row["ok"], row["agreement"], row["num_samples"]) == (True, 1.0, tested)
    page = (trained.run / "report.html").read_text(encoding="utf-8")
    shown = {"Column heated</h3>": trained.network in OF_TABLES, "tokens of a text</dt>": trained.network in OF_TEXTS}
    assert {text: f">{text}" in page for text in shown} == shown
    title = "<h1>mean on walks</h1>" if trained.network == "own" else f"<td>model</td><td>{trained.network}</td>"
    assert title in page


def test_it_is_stopped_and_resumed_to_the_same_bits(trained: Trained) -> None:
    """With the same words, for the checkpoints hold them, and so do the hashes in their names."""
    assert trained.start("stopped", *NETWORKS[trained.network], *WORDS, stop=STOP).code == 143
    stopped = trained.home / "stopped"
    assert status(stopped)["state"] == "interrupted"
    steps = [max(entry["step"] for entry in manifest(run)["files"]) for run in (stopped, trained.run)]
    assert steps[1] / 2 < steps[0] < steps[1], "in the second of two epochs"
    outcome = run_here([f"resume={stopped}", *trained.trust], trained.home)
    assert (outcome.code, outcome.err) == (0, "")
    assert_same_bits(stopped, trained.run)


def test_it_is_evaluated_to_the_same_metrics(trained: Trained) -> None:
    outcome = trained.start("evaluated", f"ckpt={trained.run}", "report=none", *trained.trust)
    assert (outcome.code, outcome.err) == (0, "")
    found = summary(trained.home / "evaluated")["metrics"]
    assert found == summary(trained.run)["metrics"]


def test_its_artifact_predicts_the_same_without_nnrun(
    trained: Trained, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained.run / "exports" / "onnx" / "model.onnx"
    if trained.network == "own":
        # Files do not hold what one's own network takes: a program asks it.
        monkeypatch.syspath_prepend(trained.home)
        arrays = {name: np.array(values, TYPES[name]) for name, values in ASKED.items()}
        with nnrun.predictor(trained.run, trust=["walks"]) as predictor:
            ours = [(row["class"], row["probability"]) for row in predictor(arrays)]
        theirs = ask(model, {name: (values, TYPES[name]) for name, values in ASKED.items()})
    else:
        file = trained.home / ("new.csv" if trained.network in OF_TABLES else "new.txt")
        outcome = trained.start("predicted", "task=predict", f"ckpt={trained.run}", f"input={file}")
        assert (outcome.code, outcome.err) == (0, "")
        with (trained.home / "predicted" / "predictions.csv").open(newline="") as table:
            ours = [(row["class"], float(row["probability"])) for row in csv.DictReader(table)]
        theirs = ask(model, str(file))
    assert [name for name, _ in theirs] == [name for name, _ in ours]
    values = [probability for _, probability in ours]
    assert [probability for _, probability in theirs] == pytest.approx(values, abs=1e-4)
    assert len(set(values)) > 1, "the negative control"


@pytest.mark.parametrize("trained", SWEPT, indirect=True)
def test_a_sweep_of_two_finishes(trained: Trained) -> None:
    words = [word for word in WORDS if not word.startswith(("optimizer.lr", "trainer.epochs"))]
    folder = trained.home / "swept"
    outcome = run_here(
        [
            *("-m", *NETWORKS[trained.network], *words, "optimizer.lr=0.001,0.02", "trainer.epochs=1"),
            *("export=none", "report=none", "sweep.parallel=1", f"hydra.sweep.dir={folder}"),
        ],
        trained.home,
    )
    assert (outcome.code, outcome.err) == (0, ""), outcome.out
    with (folder / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["finished"] * 2
    assert {row["optimizer.lr"] for row in rows} == {"0.001", "0.02"}
    assert rows[0]["valid/loss"] != rows[1]["valid/loss"], "the negative control of the same bits"
