"""A table from its file to a proven export: what is learned comes from the training part, and a run resumes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import nnrun
from nnrun.components.data.table.source import Table
from nnrun.core.seams.data import Evaluation
from nnrun.runs.samples import read_samples
from support.command_line import Outcome, run_here
from support.small_runs import assert_same_bits, status, stop_at, summary

pytestmark = pytest.mark.usefixtures("warm_python")

WORDS = [
    *("data=table", "data.root=houses.csv", "data.target=price", "data.batch_size=64", "optimizer.lr=0.02"),
    *("trainer.epochs=5", "trainer.progress=false", "trainer.log_every_steps=1"),
]
CITIES = {"Rome": 0.0, "Oslo": 120.0, "Bern": 40.0}


def houses(number: int, seed: int = 0) -> list[str]:
    """Lines of houses whose price follows from area, city and age; a tenth of the areas are not known."""
    random = np.random.default_rng(seed)
    lines = ["id,area,city,built,heated,sold,price"]
    for index in range(number):
        area, city = random.lognormal(4, 0.4), random.choice(list(CITIES))
        built, heated = random.integers(1900, 2020), random.choice(["yes", "no"])
        price = 3 * area + CITIES[city] + 0.5 * (built - 1900) + 30 * (heated == "yes")
        known = "" if random.random() < 0.1 else f"{area:.2f}"
        sold = f"20{random.integers(10, 24)}-03-0{index % 9 + 1}"
        lines.append(f"{index + 1},{known},{city},{built},{heated},{sold},{price:.2f}")
    return lines


def run(home: Path, name: str, words: Sequence[str], *, stop: int | None = None) -> Outcome:
    """Run in a directory of that name; a stop is a SIGTERM at that poll."""
    with stop_at(stop):
        return run_here([*words, f"hydra.run.dir={home / name}"], home)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tables")
    (home / "houses.csv").write_text("\n".join(houses(400)) + "\n")
    return home


@pytest.fixture(scope="module")
def trained(home: Path) -> Outcome:
    outcome = run(home, "trained", WORDS)
    assert (outcome.code, outcome.err) == (0, "")
    return outcome


def test_it_is_learned_and_its_columns_are_shown(home: Path, trained: Outcome) -> None:
    found = summary(home / "trained")
    assert found["metrics"]["test/r2"] > 0.7, "half of it is the area, the rest the city, the year and the heating"
    assert (found["artifacts"]["onnx"]["ok"], found["artifacts"]["onnx"]["agreement"]) == (True, 1.0)
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in trained.out.splitlines() if line.strip()}
    assert rows["price"] == "target"
    assert rows["id"] == "id left out: a number for each row"
    assert rows["city"] == "category 3 categories: Bern, Oslo, Rome"
    assert rows["built"].startswith("number 19")
    assert rows["heated"] == "boolean 2 categories: false, true"
    assert rows["sold"] == "date 2010-03-01 to 2023-03-09"
    assert "model=auto is tabular, problem=auto is regression" in trained.out


def test_what_the_predictions_depend_on_is_in_the_report(home: Path, trained: Outcome) -> None:
    """A run without a report does not measure it: the negative control."""
    found = summary(home / "trained")["column_effects"]
    assert (found["metric"], found["repeats"], found["num_left_out"]) == ("r2", 5, 0)
    assert found["num_rows"] == found["of_rows"] == summary(home / "trained")["data"]["splits"]["test"]["samples"]
    means = {row["names"][0]: row["mean"] for row in found["importance"]}
    assert set(means) == {"area", "city", "built", "heated", "sold"}, "the columns that are read"
    assert next(iter(means)) == "area" and means["area"] > 0.2 > abs(means["sold"])
    curves = {curve["name"]: curve for curve in found["curves"]}
    of_city = dict(zip(curves["city"]["x"], curves["city"]["series"]["price"], strict=True))
    assert of_city["Oslo"] > of_city["Bern"] > of_city["Rome"]
    page = (home / "trained" / "report.html").read_text()
    for text in ("What the predictions depend on", "Importance of the columns", "Prediction along area"):
        assert f">{text}</h" in page
    assert f"{len(means)} columns" not in page
    assert f"area {means['area']:.4f}" in trained.out and "(fall of r2 if shuffled)" in trained.out
    quiet = run(home, "unreported", [*WORDS, "report=none", "export=none", "trainer.epochs=1"])
    assert quiet.code == 0 and "if shuffled" not in quiet.out
    assert summary(home / "unreported")["column_effects"] is None


def test_what_the_predictions_depend_on_is_measured_on_other_data_and_by_an_inspection(
    home: Path, trained: Outcome
) -> None:
    (home / "newer.csv").write_text("\n".join(houses(80, seed=9)) + "\n")
    words = ["ckpt=trained", "data.root=newer.csv", "report=default", "trainer.progress=false"]
    outcome = run(home, "newer", words)
    assert (outcome.code, outcome.err) == (0, "")
    found = summary(home / "newer")["column_effects"]
    assert found["of_rows"] == 80 and found["importance"][0]["names"] == ["area"]
    assert found["score"] == pytest.approx(summary(home / "newer")["metrics"]["test/r2"], abs=1e-4)
    assert ">Prediction along area</h" in (home / "newer" / "report.html").read_text()
    for name, more, rows in (("inspected", [], None), ("inspected newer", ["data.root=newer.csv"], 80)):
        outcome = run(
            home, name, ["task=inspect", "ckpt=trained", "trainer.progress=false", "data.batch_size=8", *more]
        )
        assert outcome.code == 0, outcome.err
        found = json.loads((home / name / "inspect.json").read_text())["column_effects"]
        expected = summary(home / ("newer" if rows else "trained"))["column_effects"]
        assert found == expected, "the same rows, shuffled by the same seed"
        lines = [line.split() for line in outcome.out.splitlines()]
        first = lines[lines.index(["column", "fall", "of", "r2", "standard", "deviation"]) + 1]
        assert first[:2] == ["area", f"{found['importance'][0]['mean']:.4f}"]


def test_an_inspection_takes_rows_with_categories_that_the_run_did_not_have(home: Path, trained: Outcome) -> None:
    """They are coded as in the training: learned of these rows, the table of categories would be of another size."""
    (home / "ulm.csv").write_text("\n".join(houses(80, seed=3)).replace("Rome,19", "Ulm,19") + "\n")
    words = ["task=inspect", "ckpt=trained", "data.root=ulm.csv", "data.batch_size=8", "trainer.progress=false"]
    outcome = run(home, "inspected ulm", words)
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads((home / "inspected ulm" / "inspect.json").read_text())
    weights = sum(weight.numel() for weight in nnrun.load(home / "trained").parameters())
    assert found["parameters"]["total"] == weights
    assert "its fingerprint differs" in " ".join(outcome.out.split())


def test_a_report_shows_the_columns_and_the_rows_with_the_largest_errors(home: Path, trained: Outcome) -> None:
    """With report.samples=false the columns alone: the negative control."""
    rows, (titles, *lines) = [], (line.split(",") for line in houses(500))
    for line in lines:
        cells = {name: cell for name, cell in zip(titles, line, strict=True) if cell and name != "price"}
        rows.append("; ".join(f"{name} {cell}" for name, cell in (cells | _numbers(cells)).items()))
    found = read_samples(home / "trained").texts
    assert len(found) == 24 and set(found.values()) <= set(rows)
    page = (home / "trained" / "report.html").read_text()
    first = next(iter(found.values()))
    assert f">{first}</td>" in page and ">a number for each row</td>" in page
    shutil.copytree(home / "trained", home / "private")
    assert run_here(["task=report", f"ckpt={home / 'private'}", "report.samples=false"], home).code == 0
    page = (home / "private" / "report.html").read_text()
    assert first not in page and ">a number for each row</td>" in page


def _numbers(cells: Mapping[str, str]) -> dict[str, str]:
    return {name: f"{float(cells[name]):g}" for name in ("area",) if name in cells}


def test_a_stopped_run_is_resumed_to_the_same_bits(home: Path, trained: Outcome) -> None:
    assert run(home, "stopped", WORDS, stop=17).code == 143
    assert status(home / "stopped")["state"] == "interrupted"
    assert run_here([f"resume={home / 'stopped'}"], home).code == 0
    assert_same_bits(home / "stopped", home / "trained")
    assert run(home, "other", [*WORDS, "export=none", "report=none", "seed=1", "trainer.epochs=1"]).code == 0
    rows = [(home / name / "metrics.jsonl").read_text().splitlines()[0] for name in ("other", "trained")]
    assert rows[0] != rows[1], "the negative control"


def test_the_run_is_evaluated_again_and_on_another_file(home: Path, trained: Outcome) -> None:
    assert run(home, "again", [f"ckpt={home / 'trained'}", "report=none"]).code == 0
    assert summary(home / "again")["metrics"] == summary(home / "trained")["metrics"]
    lines = houses(60, seed=7)
    # Columns in another order, one more, and a city that the training did not have.
    cells = [line.split(",") for line in lines]
    cells[1][2] = "Ulm"
    other = [",".join([row[6], "extra", *row[5:0:-1]]) for row in cells]
    (home / "other.csv").write_text("\n".join(other) + "\n")
    outcome = run(home, "elsewhere", [f"ckpt={home / 'trained'}", "data.root=other.csv", "report=none"])
    assert outcome.code == 0, outcome.err
    assert summary(home / "elsewhere")["metrics"]["test/r2"] > 0.7
    (home / "lacking.csv").write_text("\n".join(line.replace("area", "aera") for line in lines) + "\n")
    outcome = run(home, "lacks", [f"ckpt={home / 'trained'}", "data.root=lacking.csv"])
    assert outcome.code == 3
    assert "lacking.csv has no column area, which the network reads; did you mean 'aera'?" in outcome.err


def test_rows_are_recognized_whatever_columns_are_added(home: Path, trained: Outcome) -> None:
    """A hash of all cells of a row says whether the network saw it: those of the columns that the training had."""
    lines = (home / "houses.csv").read_text().splitlines()
    wider = [f"{'owner' if not index else 'o' + str(index % 7)},{line}" for index, line in enumerate(lines)]
    (home / "wider.csv").write_text("\n".join(wider) + "\n")
    outcome = run(home, "wider", [f"ckpt={home / 'trained'}", "data.root=wider.csv", "report=none"])
    assert (outcome.code, outcome.err) == (0, "")
    assert summary(home / "wider")["metrics"] == summary(home / "trained")["metrics"]
    assert "this is the run's data at another place" in outcome.out
    # Without one of these, they cannot be: the negative control.
    (home / "narrower.csv").write_text("\n".join(line.partition(",")[2] for line in lines) + "\n")
    outcome = run(home, "narrower", [f"ckpt={home / 'trained'}", "data.root=narrower.csv", "report=none"])
    assert "narrower.csv lacks 1 column of the training's table, id: rows" in " ".join(outcome.out.split())
    assert "all 400 samples are test" in outcome.out
    # A training learns from the new column: it cannot go on.
    shutil.copytree(home / "trained", home / "going_on")
    outcome = run_here([f"resume={home / 'going_on'}", "data.root=wider.csv", "trainer.epochs=6"], home)
    assert outcome.code == 3
    assert f"the data is not the same as when {home / 'going_on'} was interrupted: data.in_shape is" in outcome.err


def test_its_artifact_takes_the_columns_of_the_file(home: Path, trained: Outcome) -> None:
    """ONNX Runtime alone, on the test rows as they stand in the file; other cells give other scores."""
    network = nnrun.load(home / "trained")
    evaluation = Evaluation(network.targets, False, network.preprocessing.to_plain())
    test = table(home / "houses.csv").load_for(evaluation).test
    with torch.inference_mode():
        ours = network(network.preprocessing(test.inputs))
    session = onnxruntime.InferenceSession(home / "trained/exports/onnx/model.onnx", providers=["CPUExecutionProvider"])
    types = {"area": "float", "city": "string", "built": "float", "heated": "string", "sold": "double"}
    assert {node.name: node.type for node in session.get_inputs()} == {
        name: f"tensor({kind})" for name, kind in types.items()
    }
    lines = [line.split(",") for line in houses(400)]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    prices = [row["price"] for row in rows]
    by_price = {np.float32(row["price"]): row for row in rows if prices.count(row["price"]) == 1}
    is_clear = [np.float32(price) in by_price for price in test.targets[:, 0].tolist()]
    assert sum(is_clear) > 50, "the price names the row"
    ours = ours[is_clear]
    tested = [by_price[np.float32(price)] for price in test.targets[is_clear, 0].tolist()]
    given = {
        "area": np.array([float(row["area"] or "nan") for row in tested], "float32"),
        "built": np.array([float(row["built"]) for row in tested], "float32"),
        "sold": np.array([row["sold"] for row in tested], "datetime64[s]").astype("float64"),
        "city": np.array([row["city"] for row in tested], object),
        "heated": np.array([row["heated"] for row in tested], object),
    }
    (theirs,) = session.run(["scores"], given)
    np.testing.assert_allclose(theirs, ours.numpy(), rtol=1e-4, atol=1e-2)
    (other,) = session.run(["scores"], given | {"city": np.roll(given["city"], 1)})
    assert np.abs(other - theirs).max() > 10
    verification = json.loads((home / "trained/exports/onnx/verification.json").read_text())
    assert (verification["ok"], verification["num_samples"]) == (True, len(test))


def test_a_plain_perceptron_takes_a_table_too(home: Path) -> None:
    outcome = run(home, "mlp", [*WORDS, "model=mlp", "report=none"])
    assert outcome.code == 0, outcome.err
    found = summary(home / "mlp")
    assert found["metrics"]["test/r2"] > 0.5
    assert found["artifacts"]["onnx"]["ok"]


def table(root: Path) -> Table:
    return Table(str(root), "price", None, None, 32, None, 0, "content")


@pytest.mark.parametrize("part", ["test", "train"])
def test_what_is_learned_comes_from_the_training_part_alone(home: Path, part: str) -> None:
    """The other numbers and categories of a test part change nothing; those of the training part do."""
    learned = []
    for factor, name in ((1.0, "Oslo"), (50.0, "Lima")):
        folder = home / f"parts_{part}_{factor:g}"
        folder.mkdir()
        for file, seed in (("train", 0), ("valid", 1), ("test", 2)):
            lines = houses(80, seed)
            if file == part:
                cells = [line.split(",") for line in lines[1:]]
                for row in cells:
                    row[1], row[2] = row[1] and f"{float(row[1]) * factor:.2f}", row[2].replace("Oslo", name)
                lines = [lines[0], *(",".join(row) for row in cells)]
            (folder / f"{file}.csv").write_text("\n".join(lines) + "\n")
        dataset = table(folder).load()
        assert dataset.fit is not None and dataset.valid is not None
        parts = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
        learned.append(dataset.fit(parts).preprocessing.to_plain())
    assert (learned[0] == learned[1]) == (part == "test")
