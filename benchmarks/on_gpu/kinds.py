"""Tables, texts and networks of several inputs: captured, resumed to the same bits, and exported."""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

from on_gpu.bits import same_bits
from on_gpu.place import Place, Row, attempt
from on_gpu.runs import read, run, train

TABLES = ("linear", "mlp", "tabular", "tabm")
TEXTS = ("bag", "textcnn", "gru", "lstm", "transformer")
# What each needs besides torch.
_READERS = {"table": "polars", "text": "tokenizers"}
_DRY = ("table, linear",)
# A data set and a network of a user, whose samples are two tensors of different kinds, and one is of any length.
_OWN = """
import torch
from torch import nn


class Walks(torch.utils.data.Dataset):
    classes = ("down", "up")
    sequences = ("tokens",)

    def __init__(self):
        draws = torch.Generator().manual_seed(0)
        lengths = torch.randint(3, 40, (600,), generator=draws).tolist()
        self.walks = [torch.randint(1, 5, (length,), generator=draws) for length in lengths]
        self.tables = torch.randn(600, 3, generator=draws)

    def __len__(self):
        return 600

    def __getitem__(self, index):
        inputs = {"tokens": self.walks[index], "table": self.tables[index]}
        return inputs, int(self.walks[index].float().mean() + self.tables[index, 0] > 2.5)


class Steps(nn.Module):
    def __init__(self, num_outputs):
        super().__init__()
        self.embed, self.cell = nn.Embedding(5, 16), nn.GRUCell(16, 16)
        self.head = nn.Linear(19, num_outputs)

    def forward(self, tokens, lengths, table):
        state = torch.zeros(len(tokens), 16, device=tokens.device)
        for place in range(tokens.shape[1]):
            seen = self.cell(self.embed(tokens[:, place]), state)
            state = torch.where((place < lengths)[:, None], seen.to(state.dtype), state)
        return self.head(torch.cat([state, table], 1))
"""

_OWN_DATA = "defaults: [_base]\nname: walks\ndataset:\n  _target_: walks.Walks\n"


def kinds(place: Place) -> Iterator[Row]:
    """Of networks of tables, of texts and of a user: what a resumed run, an export and captured steps give."""
    cases = {f"table, {name}": partial(_on_table, place, name) for name in TABLES}
    cases |= {f"text, {name}": partial(_on_texts, place, name) for name in TEXTS}
    cases["several inputs, a loop"] = partial(_on_own, place)
    for name, look in cases.items():
        needs = _READERS.get(name.split(",")[0])
        if place.dry and name not in _DRY:
            continue
        if needs is not None and find_spec(needs) is None:
            yield name, {"left_out": f"{needs} is not installed"}
        else:
            yield name, attempt(look)


def _on_table(place: Place, model: str) -> dict[str, Any]:
    draws, path = random.Random(0), place.folder / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["size", "town", "kind"])
        for number in range(800):
            size, town = draws.random(), draws.choice("abc")
            rows.writerow([f"{size:.4f}" if number % 17 else "", town, "high" if size + (town == "a") > 0.8 else "low"])
    words = ["data=table", f"data.root={path}", "data.target=kind", f"model={model}"]
    name = f"table-{model}"
    found = _resumed(place, name, words) | attempt(partial(_exported, place, name, words))
    return found | attempt(partial(_captured, place, name, words))


def _on_texts(place: Place, model: str) -> dict[str, Any]:
    draws, path = random.Random(0), place.folder / "texts.csv"
    words = {"good": ["fine", "warm", "kind"], "bad": ["cold", "late", "rude"]}
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["review", "label"])
        for number in range(800):
            label = ("good", "bad")[number % 2]
            said = [draws.choice([*words[label], "the", "a", "room", "was"]) for _ in range(draws.randint(3, 60))]
            rows.writerow([" ".join(said), label])
    given = ["data=text", f"data.root={path}", "data.text=review", "data.target=label", f"model={model}"]
    name = f"text-{model}"
    return _resumed(place, name, given) | attempt(partial(_exported, place, name, given))


def _on_own(place: Place) -> dict[str, Any]:
    (place.folder / "walks.py").write_text(_OWN, encoding="utf-8")
    (place.folder / "conf/model").mkdir(parents=True)
    (place.folder / "conf/model/steps.yaml").write_text("_target_: walks.Steps\nnum_outputs: ${data.num_outputs}\n")
    (place.folder / "conf/data").mkdir()
    (place.folder / "conf/data/walks.yaml").write_text(_OWN_DATA, encoding="utf-8")
    sys.path.insert(0, str(place.folder))
    try:
        return _resumed(place, "own", ["data=walks", "model=steps"], "[walks]")
    finally:
        sys.path.remove(str(place.folder))


def _resumed(place: Place, name: str, words: list[str], trust: str = "[]") -> dict[str, Any]:
    """Return whether a resumed run has the same bits."""
    small = ("data.batch_size=32", "trainer.epochs=2", "trainer.log_every_steps=2", "trainer.deterministic=true")
    return attempt(partial(same_bits, place, name, (*small, *words), trust))


def _exported(place: Place, name: str, words: list[str]) -> dict[str, Any]:
    """Return the test accuracy of a longer run, how far its ONNX file's scores are from the network's, and how fast."""
    folder = place.folder / f"{name}-exported"
    given = [*words, "trainer.epochs=20", f"hydra.run.dir={folder}", "export=onnx", "early_stopping=none"]
    code, said = run(place.folder, *given, device=str(place.device))
    if code != 0:
        raise RuntimeError(f"exit code {code}: {said}")
    summary, proof = read(folder / "summary.json"), read(folder / "exports/onnx/verification.json")
    return {
        "test_accuracy": summary["metrics"]["test/accuracy"],
        "samples_per_second": summary["train"]["samples_per_second"],
        "export_proven": proof["ok"],
    }


def _captured(place: Place, name: str, words: list[str]) -> dict[str, Any]:
    """Return whether captured steps have the bits of steps that are not."""
    if not place.on_gpu:
        return {}
    rows = {}
    for graph in ("false", "true"):
        more = ["trainer.epochs=20", "trainer.deterministic=true", f"trainer.cuda_graph={graph}", "early_stopping=none"]
        summary = train(place.folder, f"{name}-{graph}", *words, *more, device=str(place.device))
        rows[graph] = (place.folder / f"{name}-{graph}" / "metrics.jsonl").read_bytes()
    return {
        "captured_has_the_same_bits": rows["true"] == rows["false"],
        "captured_samples_per_second": summary["train"]["samples_per_second"],
    }
