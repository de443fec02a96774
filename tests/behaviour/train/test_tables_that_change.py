"""A table with percent and currency signs, and what is said when it has changed since a run was trained on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from support.command_line import run_here
from support.small_runs import summary

pytestmark = pytest.mark.usefixtures("warm_python")

PARTS = {"train": 60, "valid": 20, "test": 20}
WORDS = ["data=table", "data.root=offers", "data.target=days", "trainer.epochs=1", "report=none"]
QUIET = ["trainer.progress=false"]


def rows(number: int, seed: int) -> list[dict[str, str]]:
    draws = np.random.default_rng(seed)
    return [
        {
            "code": f"o{seed}-{index}",
            "price": f"${draws.uniform(1000, 9000):,.2f}",
            "rate": f"{draws.uniform(0, 30):.1f} %",
            "city": str(draws.choice(["Oslo", "Rome"])),
            "days": f"{draws.uniform(0, 9):.3f}",
        }
        for index in range(number)
    ]


def write(folder: Path, names: Mapping[str, str] | None = None, without: str = "") -> None:
    """Write the three files of the table, with other `names` of cities, and `without` a column."""
    folder.mkdir(exist_ok=True)
    for seed, (part, number) in enumerate(PARTS.items()):
        lines = []
        for row in rows(number, seed):
            cells = {**row, "city": (names or {}).get(row["city"], row["city"])}
            lines.append([f'"{cell}"' for title, cell in cells.items() if title != without])
        titles = [title for title in row if title != without]
        text = "\n".join(",".join(line) for line in [titles, *lines])
        (folder / f"{part}.csv").write_text(text + "\n")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("offers")
    write(home / "offers")
    outcome = run_here([*WORDS, *QUIET, "hydra.run.dir=run"], home)
    assert (outcome.code, outcome.err) == (0, "")
    said = " ".join(outcome.out.split())
    assert "written $1,234.5" in said and "written 12.5%" in said
    return home


def test_signs_are_read_in_every_file_and_an_artifact_takes_the_numbers(home: Path) -> None:
    found = summary(home / "run")
    assert found["data"]["columns"] == {"price": "number", "rate": "number", "city": "category"}
    assert found["artifacts"]["onnx"]["agreement"] == 1.0
    for number, of in enumerate(("run", "run/exports/onnx/model.onnx")):
        words = ["task=predict", f"ckpt={of}", "input=offers/test.csv", f"hydra.run.dir=p{number}"]
        assert run_here(words, home).code == 0
    lists = [np.genfromtxt(home / f"p{number}/predictions.csv", delimiter=",", names=True) for number in (0, 1)]
    predictions = [of["prediction"] for of in lists]
    np.testing.assert_allclose(*predictions, rtol=1e-5)
    tested = rows(PARTS["test"], 2)
    given = {
        "price": np.array([row["price"].strip("$").replace(",", "") for row in tested], "float32"),
        "rate": np.array([row["rate"].strip("% ") for row in tested], "float32"),
        "city": np.array([row["city"] for row in tested], object),
    }
    session = onnxruntime.InferenceSession(home / "run/exports/onnx/model.onnx", providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], given)
    np.testing.assert_allclose(scores[:, 0], predictions[0], rtol=1e-4)
    columns = json.loads((home / "run/exports/onnx/columns.json").read_text())["columns"]
    assert {of["name"]: of.get("written") for of in columns} == {"price": "$1,234.5", "rate": "12.5%", "city": None}


def test_other_signs_than_those_of_the_training_are_refused(home: Path) -> None:
    lines = (home / "offers/test.csv").read_text()
    (home / "euros.csv").write_text(lines.replace("$", "\u20ac"))
    for words in (["task=predict", "input=euros.csv"], ["data.root=euros.csv"]):
        outcome = run_here([*words, "ckpt=run"], home)
        assert outcome.code == 3
        said = " ".join(outcome.err.split())
        assert "euros.csv, line 2: price is \u20ac" in said
        assert "but the numbers of the training have the sign $; write them in the same unit" in said
    (home / "plain.csv").write_text(lines.replace("$", "").replace(" %", ""))
    assert run_here(["task=predict", "input=plain.csv", "ckpt=run"], home).code == 0, "the negative control"


def test_a_column_that_is_gone_is_named(home: Path) -> None:
    """Also one that the network does not read: without it, its rows cannot be recognized."""
    shutil.copytree(home / "run", home / "going on")
    (home / "one").mkdir()
    (home / "one/t.csv").write_text((home / "offers/train.csv").read_text())
    words = [*WORDS, "data.root=one/t.csv", "export=none", *QUIET, "hydra.run.dir=of one"]
    assert run_here(words, home).code == 0
    lines = (home / "one/t.csv").read_text().splitlines()
    (home / "one/t.csv").write_text("\n".join(line.partition(",")[2] for line in lines) + "\n")
    write(home / "offers", without="code")
    try:
        for words, said in (
            (["ckpt=of one"], "t.csv lacks 1 column of the training's table, code: rows that"),
            (["resume=going on", "trainer.epochs=2"], "when going on was interrupted (it lacks the column code)"),
        ):
            outcome = run_here(words, home)
            assert outcome.code == 3
            assert said in " ".join(outcome.err.split())
        assert "0%" not in outcome.err
    finally:
        write(home / "offers")


def test_an_inspection_codes_other_categories_as_the_training_did(home: Path) -> None:
    """As unknown, whichever name stands for which: by their own order, the loss of a batch would differ."""
    losses = {}
    for name, names in (
        ("same", {}),
        ("one", {"Oslo": "Bern", "Rome": "Ulm"}),
        ("other", {"Oslo": "Ulm", "Rome": "Bern"}),
    ):
        write(home / name, names)
        words = ["task=inspect", "ckpt=run", f"data.root={name}", *QUIET, f"hydra.run.dir=inspected {name}"]
        outcome = run_here(words, home)
        assert outcome.code == 0, outcome.err
        losses[name] = json.loads((home / f"inspected {name}" / "inspect.json").read_text())["gradients"]["loss"]
    assert losses["one"] == losses["other"] != losses["same"]


def test_the_column_of_the_time_differs_between_splits_without_a_note(home: Path) -> None:
    """Another column that grows with the time is noted: the negative control."""
    lines = [f"2024-{n % 12 + 1:02d}-01,{(n % 12) * 7 + n / 1000},{n % 7 + 0.5}" for n in range(300)]
    (home / "times.csv").write_text("\n".join(["time,other,y", *lines]) + "\n")
    words = ["data=table", "data.root=times.csv", "data.target=y", "data.time=time", "trainer.epochs=0"]
    outcome = run_here([*words, "early_stopping=none", "export=none", "report=none", "hydra.run.dir=timed"], home)
    assert outcome.code == 0, outcome.err
    notes = " ".join(outcome.out.split())
    assert "the test split differs from the training split in other (" in notes and "time (" not in notes
