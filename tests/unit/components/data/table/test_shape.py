"""Which columns differ between parts, and which tell the target by themselves; good columns are not named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnrun.components.data.table.source import Table
from nnrun.core.seams.data import Findings


def findings(folder: Path, columns: dict[str, list], target: str, test_from: int) -> Findings:
    """What is found of columns whose rows from a place on are the test part."""
    for part, rows in (("train", slice(test_from)), ("test", slice(test_from, None))):
        cells = zip(*(values[rows] for values in columns.values()), strict=True)
        text = [",".join(columns), *(",".join(map(str, row)) for row in cells)]
        (folder / f"{part}.csv").write_text("\n".join(text) + "\n")
    dataset = Table(str(folder), target, None, None, 32, None, 0, "content", group=None).load()
    assert dataset.fit is not None
    return dataset.fit({"train": dataset.train, "test": dataset.test}).findings


def drawn(number: int = 600) -> dict[str, list]:
    random = np.random.default_rng(0)
    base = random.normal(size=number)
    return {
        "good": (base + random.normal(size=number) / 3).round(4).tolist(),
        "kind": random.choice(["a", "b", "c"], number).tolist(),
        "y": base.round(4).tolist(),
    }


@pytest.mark.parametrize(
    ("leak", "says"),
    [
        (lambda y: [3 * value - 7 for value in y], "rank correlation 1.0000"),
        (lambda y: [-np.exp(value) for value in y], "rank correlation -1.0000"),
        (lambda y: [f"v{value > 0:d}" for value in y], None),
        (lambda y: [round(value) + 0.5 for value in y], None),
    ],
    ids=["linear", "another scale", "its sign", "rounded"],
)
def test_a_column_that_is_the_target_is_named(tmp_path: Path, leak, says: str | None) -> None:
    columns = drawn()
    found = findings(tmp_path, {**columns, "copy": leak(columns["y"])}, "y", 400)
    assert found.facts["telling"] == ({"copy": says} if says else {})
    assert any("copy alone tells the target" in note for note in found.notes) == bool(says)


def test_a_column_that_tells_the_class_is_named_and_one_that_nearly_does_is_not(tmp_path: Path) -> None:
    columns = drawn()
    columns["y"] = ["yes" if value > 0 else "no" for value in columns["y"]]
    columns["code"] = ["J" if value == "yes" else "N" for value in columns["y"]]
    columns["nearly"] = [code if row % 20 else "J" for row, code in enumerate(columns["code"])]
    found = findings(tmp_path, columns, "y", 400)
    assert found.facts["telling"] == {"code": "accuracy 1.0000"}


def test_a_column_of_another_distribution_is_named_and_small_parts_differ_by_chance(tmp_path: Path) -> None:
    columns = drawn()
    columns["moved"] = [round(value + (row >= 400), 4) for row, value in enumerate(columns["good"])]
    columns["kind"] = [name if row < 400 else "a" for row, name in enumerate(columns["kind"])]
    found = findings(tmp_path, columns, "y", 400)
    (note,) = found.notes
    assert note.startswith("the test split differs from the training split in kind (")
    assert "moved (" in note and "good" not in note
    (tmp_path / "small").mkdir()
    found = findings(tmp_path / "small", drawn(120), "y", 105)
    assert found.notes == (), "15 rows in 16 bins"
    about = found.facts["distributions"]["good"]
    assert sum(about["counts"]["test"]) == 15
    assert about["psi"]["test"] < 0.25
