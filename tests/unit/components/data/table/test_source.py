"""Tables as people have them: each is read right, or the error names the file, the line and the column."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from nnrun.assembly.network import read_by
from nnrun.base.errors import ArtifactError, ConfigError, DataError
from nnrun.components.data.table.columns import Column, Feature, packed, unpacked
from nnrun.components.data.table.preprocessing import TablePreprocessing
from nnrun.components.data.table.reader import read_sheet
from nnrun.components.data.table.source import Table
from nnrun.components.models.linear import LinearModel
from nnrun.components.models.mlp import MLP
from nnrun.components.models.tabular import Tabular
from nnrun.core.seams.data import Dataset, Evaluation, Fitted

ROWS = 40


def opened(root: Path, target: Any = "y", columns: Mapping[str, str] | None = None, **more: Any) -> Dataset:
    settings = {"drop": None, "bins": 4, "test_fraction": None, "split_seed": 0, "split_by": "content"} | more
    return Table(str(root), target, columns, **settings).load()


def fitted(root: Path, target: Any = "y", columns: Mapping[str, str] | None = None, **more: Any) -> Fitted:
    """The table, as a run with all rows but those of the test for training has it."""
    dataset = opened(root, target, columns, **more)
    assert dataset.fit is not None
    return dataset.fit({"train": dataset.train, "test": dataset.test})


def text_of(cells: list[str], title: str = "x", delimiter: str = ",") -> str:
    """A table of a column, and a target that is its row's number and a half."""
    lines = [f"{title}{delimiter}y", *(f"{cell}{delimiter}{row}.5" for row, cell in enumerate(cells))]
    return "\n".join(lines).replace(".5", ",5" if delimiter == ";" else ".5") + "\n"


def numbers_of(found: Fitted) -> list[float]:
    return sorted(torch.cat([split.inputs["numbers"][:, 0] for split in found.splits.values()]).tolist())


COUNTED = list(range(ROWS))


@pytest.mark.parametrize(
    ("cells", "delimiter", "kind", "numbers"),
    [
        ([f"{n}.25" for n in COUNTED], ",", "number", [n + 0.25 for n in COUNTED]),
        ([f'" {n}.25 "' for n in COUNTED], ",", "number", [n + 0.25 for n in COUNTED]),
        ([f"{n},25" for n in COUNTED], ";", "number", [n + 0.25 for n in COUNTED]),
        ([f'"{n + 1},{n:03d}.5"' for n in COUNTED], ",", "number", [1000 * (n + 1) + n + 0.5 for n in COUNTED]),
        ([f"{n + 1}.{n:03d},5" for n in COUNTED], ";", "number", [1000 * (n + 1) + n + 0.5 for n in COUNTED]),
        ([f"{n + 1} {n:03d}" for n in COUNTED], ",", "number", [1000.0 * (n + 1) + n for n in COUNTED]),
        ([f"{n * 20}e-1" for n in COUNTED], ",", "number", [2.0 * n for n in COUNTED]),
        ([f"{n % 7:05d}" for n in COUNTED], ",", "category", None),
        (["ä b", "c"] * 20, ",", "category", None),
        (["yes", "No"] * 20, ",", "boolean", None),
        ([f"2024-01-{n % 28 + 1:02d}" for n in COUNTED], ",", "date", [19723.0 + n % 28 for n in COUNTED]),
        ([f"{n % 28 + 1}.1.2024" for n in COUNTED], ",", "date", [19723.0 + n % 28 for n in COUNTED]),
        ([f"{n % 28 + 1:02d}/01/2024" for n in COUNTED], ",", "date", [19723.0 + n % 28 for n in COUNTED]),
        ([f"{n % 12 + 1}/{n % 28 + 1}/24" for n in COUNTED], ",", "date", None),
        ([f"2024-01-{n % 28 + 1:02d} 12:00:00.500{n:03d}" for n in COUNTED], ",", "date", None),
        (
            [f"2024-01-{n % 28 + 1:02d}T02:00:00+02:00" for n in COUNTED],
            ",",
            "date",
            [19723.0 + n % 28 for n in COUNTED],
        ),
        ([f'5" pipe {n % 3}' for n in COUNTED], ",", "category", None),
        ([f"{n % 3}'6\"" for n in COUNTED], ",", "category", None),
        ([f' "a, {n % 3}"' for n in COUNTED], ",", "category", None),
        ([f"{n}.5" if n else "inf" for n in COUNTED], ",", "number", [*[n + 0.5 for n in COUNTED[1:]], float("inf")]),
    ],
)
def test_cells_are_read_as_people_write_them(
    tmp_path: Path, cells: list[str], delimiter: str, kind: str, numbers: list[float] | None
) -> None:
    (tmp_path / "t.csv").write_text(text_of(cells, delimiter=delimiter))
    found = fitted(tmp_path / "t.csv")
    assert found.findings.facts["columns"] == {"x": kind}
    if numbers is not None:
        assert numbers_of(found) == sorted(numbers)
    if kind == "date":
        assert float(found.splits["train"].inputs["numbers"][:, 0].min()) >= 19723, "2024, not the year 24"
    inputs = found.preprocessing(found.splits["train"].inputs)
    assert all(bool(leaf.isfinite().all()) for leaf in inputs.values()), "infinity is a large number"


WORDS = ["red", "blue"] * (ROWS // 2)


def write(path: Path, text: str, how: str) -> Path:
    """Write a table in another form; return its path."""
    frame = (
        pl.read_csv(text.encode()) if how not in ("bom", "utf-16", "crlf", "cr", "bar", "gz", "tsv", "excel") else None
    )
    if frame is None:
        name = {"gz": "t.csv.gz", "tsv": "t.tsv"}.get(how, "t.csv")
        content = {
            "bom": lambda: b"\xef\xbb\xbf" + text.encode(),
            "utf-16": lambda: text.encode("utf-16"),
            "cr": lambda: text.replace("\n", "\r").encode(),
            "bar": lambda: text.replace(",", "|").encode(),
            "crlf": lambda: text.replace("\n", "\r\n").encode(),
            "gz": lambda: gzip.compress(text.encode()),
            "tsv": lambda: text.replace(",", "\t").encode(),
            "excel": lambda: b"sep=,\n" + text.encode(),
        }[how]()
        (path / name).write_bytes(content)
        return path / name
    target = path / f"t.{'arrow' if how == 'stream' else how}"
    {
        "parquet": frame.write_parquet,
        "arrow": frame.write_ipc,
        "stream": frame.write_ipc_stream,
        "jsonl": frame.write_ndjson,
    }[how](target)
    return target


@pytest.mark.parametrize(
    "how", ["bom", "utf-16", "crlf", "cr", "bar", "gz", "tsv", "excel", "parquet", "arrow", "stream", "jsonl"]
)
def test_every_form_of_a_file_gives_the_same_rows_and_parts(tmp_path: Path, how: str) -> None:
    text = text_of([f"{number}.5,{word}" for number, word in enumerate(WORDS)], "x,color")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/t.csv").write_text(text)
    plain, other = opened(tmp_path / "plain"), opened(write(tmp_path, text, how))
    assert other.fingerprint == plain.fingerprint
    for name in ("numbers", "categories"):
        assert torch.equal(other.test.inputs[name], plain.test.inputs[name])
    assert torch.equal(other.test.targets, plain.test.targets)


def test_the_order_of_rows_and_columns_does_not_matter(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": [n + 0.5 for n in COUNTED], "color": WORDS, "y": [n * 2.5 for n in COUNTED]})
    frame.write_csv(tmp_path / "one.csv")
    frame.select("y", "color", "x").sort("y", descending=True).write_csv(tmp_path / "other.csv")
    one, other = opened(tmp_path / "one.csv"), opened(tmp_path / "other.csv")
    assert sorted(one.test.targets.flatten().tolist()) == sorted(other.test.targets.flatten().tolist())


GOOD = "\n".join(f"{n}.5,{'ab'[n % 2]},{n}.25" for n in COUNTED)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"x,c,y\n{GOOD}\n1,a\n", "t.csv, line 42 has 2 cells, but the header has 3"),
        (f"x,c,y\n1,a,2,3\n{GOOD}\n", "t.csv, line 2 has 4 cells, but the header has 3"),
        (f'x,c,y\n{GOOD}\n1,"a\nb",2\n1,a\n', "t.csv, line 44 has 2 cells, but the header has 3"),
        (f"x,x,y\n{GOOD}\n", "t.csv, line 1 has two columns with the title x"),
        (f"x,c,y\n{GOOD}\n1,a\0,2\n", "t.csv, line 42 has a NUL byte"),
        (f"x,c,y\n{GOOD}\n1,a,\n", "t.csv, line 42: y is empty; values are numbers"),
        (f"x,c,y\n{GOOD}\n1,a,many\n", "t.csv, line 42: y is many; values are numbers"),
        (f"x,c,y\n{GOOD}\n1,a,inf\n", "t.csv, line 42: y is inf; values are finite"),
        (f"x,c,y\n{GOOD}\n1,a,NaN\n", "t.csv, line 42: y is NaN; values are numbers"),
        (f"x,c,y\n{GOOD}\n$7,a,1\n", "t.csv, line 42: x is $7, but other cells are numbers with no sign"),
        (f"x,c,y\n{GOOD}\nten,a,1\n", "t.csv, line 42: x is ten, which is not a number like the other cells"),
        ("x,c,y\n", "t.csv has a header line but no rows"),
        ("", "t.csv is empty"),
        ("y\n" + "\n".join(f"{n}.5" for n in COUNTED), "t.csv has no column to learn from besides y"),
        ("x,y\n" + "\n".join(f"1,{n}.5" for n in COUNTED), "no column to learn from is left"),
        ("x,y\n" + "\n".join(f"{n}.5,3" for n in COUNTED), "y: all labels are 3"),
        ("x,y\n" + "\n".join(f"{n}.5,7.5" for n in COUNTED), "all training samples have the same values, 7.5"),
        (f'x,c,y\n{GOOD}\n1,"a,2\n', "t.csv, line 42: a quote that opens in this row is never closed"),
        (f'x,c,y\n{GOOD}\n1,"a \\"b\\"",2\n', "t.csv, line 42: text follows a closing quote"),
        (",".join(f"column_{n}" for n in range(25_000)) + "\n", "t.csv has 25,000 columns; at most 20,000 are read"),
    ],
)
def test_a_wrong_file_is_refused_and_the_place_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        fitted(tmp_path / "t.csv")
    assert said in "\n".join(caught.value.messages)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ('{"x": true, "y": "b"}', "t.jsonl, line 2: the column x has a boolean where line 1 has a number; write one"),
        ('{"x": {"z": 1}, "y": "b"}', "t.jsonl, line 2: the column x has a nested object where line 1 has a number"),
        ("[1, 2]", "t.jsonl, line 2 is not a JSON object: '[1, 2]'"),
    ],
)
def test_kinds_that_json_mixes_are_refused_with_the_line(tmp_path: Path, second: str, said: str) -> None:
    (tmp_path / "t.jsonl").write_text(f'{{"x": 1, "y": "a"}}\n{second}\n')
    with pytest.raises(DataError) as caught:
        fitted(tmp_path / "t.jsonl")
    assert said in "\n".join(caught.value.messages)


def test_a_panic_of_the_reader_is_refused_and_nothing_else_is_printed(tmp_path: Path, monkeypatch, capfd) -> None:
    """What Rust raises is no Exception, and it prints first. Negative control: elsewhere it does."""

    def panics(_: Any) -> pl.DataFrame:
        os.write(2, b"thread panicked")
        raise pl.exceptions.PanicException("range end index")

    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "x.parquet")
    assert read_sheet(tmp_path / "x.parquet").frame.height == 1
    monkeypatch.setattr(pl, "read_parquet", panics)
    with pytest.raises(DataError, match=r"x\.parquet is damaged: it cannot be read; restore it"):
        read_sheet(tmp_path / "x.parquet")
    assert capfd.readouterr().err == ""
    with pytest.raises(pl.exceptions.PanicException):
        panics(None)
    assert capfd.readouterr().err == "thread panicked"


def test_a_very_long_cell_is_read(tmp_path: Path) -> None:
    """Longer than Python's csv module takes by default."""
    (tmp_path / "t.csv").write_text(f"x,c,y\n{GOOD}\n1.5,{'w' * 200_000},2.5\n")
    assert len(opened(tmp_path / "t.csv").test) + len(opened(tmp_path / "t.csv").train) == ROWS + 1


def test_other_encodings_are_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("x,y\n1,2\nü,3\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"t.csv, line 3 is not UTF-8"):
        opened(tmp_path / "t.csv")


def test_kinds_can_be_set_and_columns_dropped(tmp_path: Path) -> None:
    lines = [f"{n % 5},{'ab'[n % 2]},{n},{n}.5,{n}.5" for n in COUNTED]
    (tmp_path / "t.csv").write_text("zip,c,number,z,y\n" + "\n".join(lines))
    path = tmp_path / "t.csv"
    assert fitted(path).findings.facts["columns"] == {"zip": "number", "c": "category", "z": "number"}
    found = fitted(path, columns={"zip": "category", "number": "number"}, drop=["z"])
    assert found.findings.facts["columns"] == {"zip": "category", "c": "category", "number": "number"}
    for columns, drop, said in (
        ({"Zip": "category"}, None, "data.columns names Zip, which is not a column of .*; did you mean 'zip'"),
        ({"a": "number"}, ["b"], "data.columns names a, which .*\n?data.drop names b, which is not a column"),
    ):
        with pytest.raises(ConfigError, match=said):
            opened(path, columns=columns, drop=drop)
    with pytest.raises(ConfigError, match=r"data\.target must be given: name the column to predict; .* has zip, c"):
        opened(path, target=None)


def test_a_column_says_the_part(tmp_path: Path) -> None:
    parts = ["train", "train", "val", "test"]
    (tmp_path / "t.csv").write_text("split,x,y\n" + "\n".join(f"{parts[n % 4]},{n}.5,{n}.25" for n in COUNTED))
    dataset = opened(tmp_path / "t.csv")
    assert dataset.valid is not None
    assert [len(split) for split in (dataset.train, dataset.valid, dataset.test)] == [20, 10, 10]
    assert sorted(dataset.test.targets.flatten().tolist()) == [n + 0.25 for n in COUNTED if n % 4 == 3]


@pytest.mark.parametrize(
    ("columns", "target", "kind", "names"),
    [
        ({"y": [str(n % 3) for n in COUNTED]}, "y", "classes", ("0", "1", "2")),
        ({"y": ["no", "yes"] * 20}, "y", "classes", ("no", "yes")),
        ({"y": [f"{n}" for n in COUNTED]}, "y", "values", ("y",)),
        ({"y": ["0", "1"] * 20, "z": ["yes", "no"] * 20}, ["y", "z"], "labels", ("y", "z")),
        ({"y": [f"{n}.5" for n in COUNTED], "z": [f"{-n}" for n in COUNTED]}, ["y", "z"], "values", ("y", "z")),
    ],
)
def test_the_problem_follows_from_the_target(
    tmp_path: Path, columns: dict[str, list[str]], target: Any, kind: str, names: tuple[str, ...]
) -> None:
    pl.DataFrame({"x": [f"{n}.5" for n in COUNTED], **columns}).write_csv(tmp_path / "t.csv")
    dataset = opened(tmp_path / "t.csv", target)
    assert (dataset.targets.kind, dataset.targets.names) == (kind, names)


def test_many_categories_keep_those_that_return(tmp_path: Path) -> None:
    """Those that training has once are unknown, as those are that only the test has."""
    words = [f"c{n % 50}" if n % 2 else f"once{n}" for n in range(20_000)]
    pl.DataFrame({"x": words, "y": [n / 7 for n in range(20_000)]}).write_csv(tmp_path / "t.csv")
    found = fitted(tmp_path / "t.csv")
    (column,) = found.preprocessing.columns  # type: ignore[attr-defined]
    assert column.categories == tuple(sorted(f"c{n}" for n in range(1, 50, 2)))
    codes = found.splits["test"].inputs["categories"][:, 0]
    assert set(codes.tolist()) == set(range(1, 27))
    assert found.facts["table"]["categories"] == [27]


def test_numbers_are_scaled_and_binned_as_in_the_papers() -> None:
    values = torch.tensor([[1.0], [3.0], [5.0], [float("nan")], [float("inf")]])
    feature = Feature("x", center=3.0, scale=0.5, edges=(1.0, 2.0, 4.0, 5.0))
    prepare = TablePreprocessing([Column("x", "number", has_missing=True, features=(feature,))])
    found = prepare({"numbers": values})
    z = np.array([-1.0, 0.0, 1.0, 0.0, 1e4])
    np.testing.assert_allclose(found["numbers"][:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-5)
    assert found["numbers"][:, 1].tolist() == [0, 0, 0, 1, 0]
    assert found["bins"][:, 0].tolist() == [[0, 0, 0], [1, 0.5, 0], [1, 1, 1], [1, 0.5, 0], [1, 1, 1]]


def test_bins_are_made_only_for_a_network_that_reads_them() -> None:
    feature = Feature("x", center=3.0, scale=0.5, edges=(1.0, 2.0, 4.0, 5.0))
    prepare = TablePreprocessing([Column("x", "number", features=(feature,))])
    raw, table = {"numbers": torch.tensor([[1.0], [3.0]])}, {"numbers": 1, "flags": 0, "bins": 3, "categories": []}
    found = {
        type(network).__name__: read_by(network, prepare)
        for network in (MLP([], 2, facts={"table": table}), LinearModel(table, 2), Tabular(table, 2))
    }
    made = {name: set(of(raw)) for name, of in found.items()}
    assert made == {"MLP": {"numbers"}, "LinearModel": {"numbers"}, "Tabular": {"numbers", "bins"}}
    assert all(torch.equal(of(raw)["numbers"], prepare(raw)["numbers"]) for of in found.values())
    assert all(of.to_plain() == prepare.to_plain() for of in found.values())


def test_columns_of_any_name_are_saved_as_inert_text() -> None:
    columns = (
        Column("${oc.env:HOME}", "category", categories=("${seed}", "\x1b[31m", "\u202e", "ü" * 9000)),
        Column("x", "number", "1,234.5", True, (Feature("x", 1.5, 0.1, (0.0, 0.1)),)),
    )
    parts = packed(columns)
    assert unpacked(parts) == columns
    assert all(part.isascii() and part.isprintable() and "$" not in part and len(part) <= 10_000 for part in parts)
    for wrong in (
        ['[{"name": 1}]'],
        ["{}"],
        ['[{"name":"x","kind":"y","written":"","has_missing":false,"features":[],"categories":[]}]'],
    ):
        with pytest.raises(ArtifactError, match=r"the preprocessing of a table is damaged: .*column"):
            TablePreprocessing(wrong)


def test_groups_stay_together_and_the_newest_are_the_test(tmp_path: Path) -> None:
    lines = [f"p{n % 8},{n}.5,2024-{n % 12 + 1:02d}-01,{n}.25" for n in range(96)]
    (tmp_path / "t.csv").write_text("\n".join(["patient,x,day,y", *lines]) + "\n")
    by_group = opened(tmp_path / "t.csv", group="patient")
    train, test = ({int(y) % 8 for y in split.targets.flatten()} for split in (by_group.train, by_group.test))
    assert test and not train & test
    assert by_group.fit is not None
    assert "patient" in by_group.fit({"train": by_group.train, "test": by_group.test}).findings.facts["left_out"]
    by_time = opened(tmp_path / "t.csv", time="day")
    months = [{int(y) % 12 for y in split.targets.flatten()} for split in (by_time.train, by_time.test)]
    assert max(months[0]) <= min(months[1]), "the negative control is the split by chance"
    by_chance = opened(tmp_path / "t.csv")
    assert {int(y) % 8 for y in by_chance.train.targets.flatten()} == set(range(8))
    with pytest.raises(ConfigError, match=r"data\.group names pat, which is not a column"):
        opened(tmp_path / "t.csv", group="pat")


def test_a_group_in_two_files_is_refused_and_rows_of_before_titles_were_kept_are_recognized(tmp_path: Path) -> None:
    for part, start in (("train", 0), ("test", 7)):
        lines = [f"p{start + n % 8},{n}.5,{n}.25" for n in COUNTED]
        (tmp_path / f"{part}.csv").write_text("\n".join(["patient,x,y", *lines]) + "\n")
    with pytest.raises(DataError, match=r"data\.group=patient: 1 group .* in both train and test: p7"):
        opened(tmp_path, group="patient")
    dataset = opened(tmp_path)
    plain = dataset.preprocessing.to_plain()
    assert "titles" in plain
    for preprocessing in (plain, {key: of for key, of in plain.items() if key != "titles"}):
        table = Table(str(tmp_path), "y", None, None, 4, None, 0, "content")
        again = table.load_for(Evaluation(dataset.targets, False, preprocessing))
        assert torch.equal(again.train.identified(), dataset.train.identified())
        assert "unrecognizable" not in again.findings.facts


@pytest.mark.parametrize(("distinct", "are_apart"), [(8, True), (140, False)])
def test_equal_rows_are_held_out_one_by_one_only_where_most_rows_have_an_equal_one(
    tmp_path: Path, distinct: int, are_apart: bool
) -> None:
    """A few columns of categories have few different rows, each in all parts; two equal rows among others are one."""
    rows = [f"c{row % distinct},{'yn'[row % 2]}" for row in range(200)]
    (tmp_path / "a.csv").write_text("\n".join(["x,y", *rows]) + "\n")
    dataset = opened(tmp_path / "a.csv")
    codes = [set(split.inputs["categories"][:, 0].tolist()) for split in (dataset.train, dataset.test)]
    assert (codes[0] == codes[1]) == are_apart
    assert codes[0].isdisjoint(codes[1]) != are_apart
    assert 25 <= len(dataset.test) <= 55
    assert dataset.findings.notes == ()


def test_the_training_file_decides_the_columns_and_what_others_have_besides_is_said(tmp_path: Path) -> None:
    """Negative control: a column that the training file alone has is not dropped, but missing in the other."""
    good = [f"{n}.5,{'ab'[n % 2]},{n}.25" for n in COUNTED]
    for part in ("train", "test"):
        (tmp_path / f"{part}.csv").write_text("\n".join(["x,c,y", *good]) + "\n")
    (tmp_path / "test.csv").write_text("\n".join(["more,y,c,x", *(f"1,{n}.25,a,{n}.5" for n in COUNTED)]) + "\n")
    notes = opened(tmp_path).findings.notes
    assert "left out of test.csv: more, which train.csv does not have" in notes
    (tmp_path / "test.csv").write_text("\n".join(["x,y", *(f"{n}.5,{n}.25" for n in COUNTED)]) + "\n")
    with pytest.raises(DataError, match=r"test\.csv has no column c, which .*train\.csv has; it has x, y"):
        opened(tmp_path)


def test_rows_without_a_cell_are_left_out_and_said_or_kept_for_a_prediction(tmp_path: Path) -> None:
    """A blank line is no row; empty cells before the header are none either."""
    path = tmp_path / "t.csv"
    path.write_text(f",,\n\nx,c,y\n{GOOD}\n,,\n\n , ,\nten,a,1.5\n")
    with pytest.raises(DataError, match=r"t\.csv, line 47: x is ten"):
        opened(path)
    for before in ("", ",,\n\n"):
        path.write_text(f"{before}x,c,y\n{GOOD}\n,,\n\n , ,\n1.5,a,1.5\n\n")
        assert "left out 2 rows of t.csv without a filled cell" in opened(path).findings.notes
        kept = read_sheet(path, keeps_empty=True)
        assert (kept.frame.height, kept.frame["x"].to_list()[-3:]) == (ROWS + 3, [None, None, "1.5"])
        assert kept.at(ROWS + 2).endswith(f"line {45 + before.count(chr(10))}")
