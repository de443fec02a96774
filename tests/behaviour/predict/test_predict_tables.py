"""Predict for the rows of a table: with the run and with its ONNX file, from a file and from a program."""

from __future__ import annotations

import csv
import datetime
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import nnrun
from nnrun.base.errors import DataError
from support.command_line import run_here

pytestmark = pytest.mark.usefixtures("warm_python")

KINDS = ("oak", "fir", "elm")
WORDS = [
    *("data=table", "data.root=trees.csv", "data.target=kind", "data.batch_size=32", "trainer.epochs=6"),
    *("optimizer.lr=0.02", "trainer.progress=false", "report=none", "export=[onnx,torchscript,safetensors]"),
]


def rows(number: int, seed: int = 0) -> list[dict[str, str]]:
    draw = np.random.default_rng(seed)
    found = []
    for index in range(number):
        kind = int(draw.integers(3))
        height = f"{1000 * kind + draw.normal(500, 100):,.1f}"
        day = f"{draw.integers(1, 13)}/{draw.integers(1, 29)}/2023"
        leaf = ("lobed", "needle", "oval")[kind] if draw.random() < 0.8 else ""
        site = f"s{index % 20}"
        found.append(
            {"tree_id": f"T{index}", "height": height, "leaf": leaf, "seen": day, "site": site, "kind": KINDS[kind]}
        )
    return found


def write(path: Path, lines: list[dict[str, str]], titles: list[str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, titles, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trees")
    write(home / "trees.csv", rows(300), list(rows(1)[0]))
    trained = run_here([*WORDS, "data.group=site", "hydra.run.dir=run"], home)
    assert trained.code == 0, trained.err
    assert "groups by site: " in trained.out
    new = rows(40, seed=5)
    new[0]["leaf"], new[1]["leaf"] = "NA", "spiral"
    write(home / "new.csv", new, ["seen", "leaf", "note", "height", "tree_id"])
    return home


def predictions(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((path / "predictions.csv").open()))


def test_a_file_is_predicted_with_the_run_and_with_its_artifact(home: Path) -> None:
    found = {}
    for name, ckpt in (("of_run", "run"), ("of_onnx", "run/exports/onnx/model.onnx")):
        outcome = run_here(["task=predict", f"ckpt={ckpt}", "input=new.csv", f"hydra.run.dir={name}"], home)
        assert outcome.code == 0, outcome.err
        assert "40 rows" in outcome.out
        found[name] = predictions(home / name)
    ours, theirs = found["of_run"], found["of_onnx"]
    assert list(ours[0]) == ["tree_id", "class", "probability"]
    assert [row["tree_id"] for row in ours] == [f"T{index}" for index in range(40)]
    assert [row["class"] for row in ours] == [row["class"] for row in theirs]
    known = [row["kind"] for row in rows(40, seed=5)]
    assert sum(row["class"] == kind for row, kind in zip(ours, known, strict=True)) >= 36
    for one, other in zip(ours, theirs, strict=True):
        assert float(one["probability"]) == pytest.approx(float(other["probability"]), abs=1e-4)


def test_a_program_passes_columns_rows_or_a_path(home: Path) -> None:
    lines = list(csv.DictReader((home / "new.csv").open()))[:5]
    columns = {name: [line[name] for line in lines] for name in ("leaf", "seen", "height")}
    for path in (home / "run", home / "run/exports/onnx/model.onnx"):
        with nnrun.predictor(path) as predictor:
            expected = predictor(home / "new.csv")[:5]
            assert _alike(predictor(columns), expected)
            assert _alike(predictor(lines), expected)
            assert _alike(predictor({name: values[0] for name, values in columns.items()}), expected[:1])
            plain = {**columns, "height": [float(text.replace(",", "")) for text in columns["height"]]}
            assert _alike(predictor(plain), expected)
            assert predictor([]) == []
            other = predictor({**columns, "height": ["2,500.0"] * 5})
            assert not _alike(other, expected), "the negative control"


def _alike(ours: list[dict], theirs: list[dict]) -> bool:
    return [row["class"] for row in ours] == [row["class"] for row in theirs] and np.allclose(
        [row["probability"] for row in ours], [row["probability"] for row in theirs], atol=1e-4
    )


def test_what_is_missing_or_wrong_is_named(home: Path) -> None:
    lines = rows(30, seed=6)
    write(home / "lacks.csv", lines, ["tree_id", "leaf", "seen"])
    lines[3]["height"] = "tall"
    write(home / "wrong.csv", lines, list(lines[0]))
    for file, says in (
        ("lacks.csv", "lacks.csv has no column height, which the network reads; it has tree_id, leaf, seen"),
        ("wrong.csv", "wrong.csv, line 5: height is tall, which is not a number like the other cells"),
        ("run", "is not a table: this network reads .csv, .tsv, .parquet, .arrow or .jsonl"),
    ):
        outcome = run_here(["task=predict", "ckpt=run", f"input={file}"], home)
        assert outcome.code == 3, outcome.err
        assert says in " ".join(outcome.err.split())
    with nnrun.predictor(home / "run") as predictor:
        for given, says in (({"height": [1.0]}, "has no column leaf, seen"), ([1, 2], "the rows are not a table")):
            with pytest.raises(DataError, match=says):
                predictor(given)


def test_formats_of_tensors_take_codes_as_the_file_beside_them_says(home: Path) -> None:
    """Coded here, by that file alone."""
    folder = home / "run/exports/torchscript"
    columns = json.loads((folder / "columns.json").read_text())["columns"]
    numbers, categories = [], []
    for line in csv.DictReader((home / "new.csv").open()):
        row: list[float] = []
        for column in columns:
            cell = line[column["name"]]
            if column["kind"] == "number":
                row.append(float(cell.replace(",", "") or "nan"))
            elif column["kind"] == "date":
                month, day, year = map(int, cell.split("/"))
                date = datetime.date(year, month, day)
                parts = {"value": date.toordinal() - 719163, "month": month, "weekday": date.isoweekday()}
                row += [parts[name] for name in column["features"]]
        numbers.append(row)
        codes = [of for of in columns if of["tensor"] == "categories"]
        categories.append([of["codes"].get(line[of["name"]], of["any_other"]) for of in codes])
    network = torch.jit.load(folder / "model.pt")
    scores = network({"numbers": torch.tensor(numbers), "categories": torch.tensor(categories)})
    with nnrun.predictor(home / "run") as predictor:
        names = predictor.targets.names
        predicted = [row["class"] for row in predictor(home / "new.csv")]
    assert [names[place] for place in scores.argmax(1).tolist()] == predicted
