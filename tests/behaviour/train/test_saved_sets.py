"""Hugging Face's data sets on disk, and Parquet and Arrow, as texts and as tables; groups and times of texts."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import polars as pl
import pytest

from nnrun.assembly.data.opened import Opened, open_data
from nnrun.base.errors import DataError
from nnrun.cli import compose
from nnrun.config.schema import RunSettings, from_mapping
from support.command_line import run_here
from support.saved_sets import NAMES, save, save_splits, write_parquet
from support.small_runs import summary
from support.texts import reviews

pytestmark = pytest.mark.usefixtures("warm_python")

FEATURES = {"label": NAMES, "tags": {"feature": {"names": ["long", "praise"], "_type": "ClassLabel"}, "_type": "List"}}
SHORT = ("trainer.epochs=2", "data.batch_size=16", "trainer.progress=false", "report=none", "export=none")


def frame(number: int, seed: int = 0) -> pl.DataFrame:
    """Texts with the number of a class, of several labels, an author, a day, and vectors that nothing reads."""
    rows = reviews(number, seed)
    labels = [["neg", "pos"].index(label) for _, label in rows]
    return pl.DataFrame(
        {
            "text": [text for text, _ in rows],
            "label": labels,
            "tags": [[0] * (len(text) > 60) + [1] * label for (text, _), label in zip(rows, labels, strict=True)],
            "author": [f"a{place // 6}" for place in range(number)],
            "day": [f"2024-01-{1 + place % 28:02}" for place in range(number)],
            "length": [len(text) for text, _ in rows],
            "vector": [[1.0, 2.0]] * number,
        }
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("saved")
    save(place / "one", frame(120), FEATURES, num_files=2)
    splits = {"train": frame(80), "validation": frame(30, 1), "test": frame(40, 2), "unsupervised": frame(9, 3)}
    save_splits(place / "splits", splits, FEATURES)
    for name, number, seed in (("train-00000-of-00002", 50, 0), ("train-00001-of-00002", 30, 1), ("test", 40, 2)):
        write_parquet(place / "repo" / "data" / f"{name}.parquet", frame(number, seed), FEATURES)
    write_parquet(place / "p.parquet", frame(120), FEATURES)
    frame(120).with_columns(label=pl.Series(["neg", "pos"] * 60)).write_ipc(place / "f.feather")
    for text, (words, label) in enumerate(reviews(60)):
        (place / "files" / label).mkdir(parents=True, exist_ok=True)
        (place / "files" / label / f"a{text % 10}_2024-01-{1 + text % 28:02}_{text}.txt").write_text(words)
    return place


def opened(place: Path, *words: str) -> Opened:
    composed = compose([word.replace("AT", str(place)) for word in words])
    return open_data(from_mapping(RunSettings, composed.resolved()).data, checks_batch=False)


# Training, validation and test samples; None for parts that are drawn.
DRAWN, SPLIT, SHARDED = (None, None, None), (80, 30, 40), (None, None, 40)
FORMS = {"one": DRAWN, "splits": SPLIT, "repo": SHARDED, "p.parquet": DRAWN, "f.feather": DRAWN}


@pytest.mark.parametrize("root", FORMS)
@pytest.mark.parametrize("kind", ["text", "table"])
def test_each_form_has_its_splits_and_the_names_of_its_classes(place: Path, root: str, kind: str) -> None:
    """Without the names that the files give, classes would be 0 and 1: the negative control is the plain Arrow file."""
    words = ["data.target=label"] + (["data.drop=[vector,tags,text]"] if kind == "table" else [])
    data = opened(place, f"data={kind}", f"data.root=AT/{root}", *words)
    assert data.targets.names == ("neg", "pos")
    found = [len(data.train), len(data.valid), len(data.test)]
    assert sum(found) == (150 if root == "splits" else 120)
    assert all(size in (None, number) for size, number in zip(FORMS[root], found, strict=True))
    left_out = f"{place / 'splits'}: left out the splits unsupervised"
    assert (left_out in data.findings.notes) == (root == "splits")


@pytest.mark.parametrize("kind", ["text", "table"])
def test_a_split_without_any_label_is_left_out_and_said(tmp_path: Path, kind: str) -> None:
    """As the test splits of GLUE are saved, with -1. One that lacks some labels is an error: the negative control."""
    rows = frame(40, 2).select("text", "label", "length")
    parts = {"train": frame(80).select("text", "label", "length"), "validation": frame(30, 1).select(rows.columns)}
    words = [f"data={kind}", "data.target=label", *(["data.drop=[text]"] if kind == "table" else [])]
    save_splits(tmp_path / "none", {**parts, "test": rows.with_columns(label=pl.lit(-1))}, FEATURES)
    data = opened(tmp_path, *words, "data.root=AT/none")
    assert (len(data.valid), len(data.train) + len(data.test)) == (30, 80)
    said = "left out the split test: none of its 40 rows has a value of label; predict them with input=FILE ckpt=RUN"
    assert said in data.findings.notes
    save_splits(tmp_path / "some", {**parts, "test": with_one_label(rows)}, FEATURES)
    with pytest.raises(DataError, match=r"row 2: .?label.? is empty; each .* needs a class"):
        opened(tmp_path, *words, "data.root=AT/some")


def with_one_label(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(label=pl.Series([1] + [-1] * (rows.height - 1)))


def test_labels_in_a_list_have_their_names(place: Path) -> None:
    data = opened(place, "data=text", "data.root=AT/p.parquet", "data.target=tags")
    assert (data.targets.kind, data.targets.names) == ("labels", ("long", "praise"))


def test_a_saved_set_is_learned_evaluated_and_predicted(place: Path) -> None:
    words = ["data=text", "data.root=one", "data.target=label", "data.group=author", *SHORT, "optimizer.lr=0.05"]
    trained = run_here([*words, "trainer.epochs=8", "hydra.run.dir=run"], place)
    assert (trained.code, trained.err) == (0, ""), trained.out
    assert re.search(r"groups by author: \d+ train, \d+ valid, \d+ test", trained.out)
    assert summary(place / "run")["metrics"]["test/accuracy"] > 0.6
    again = run_here(["ckpt=run", "hydra.run.dir=again"], place)
    assert (again.code, again.err) == (0, "")
    kept = {key: of for key, of in summary(place / "run")["metrics"].items() if not key.startswith("train/")}
    assert summary(place / "again")["metrics"] == kept
    predicted = run_here(["task=predict", "ckpt=run", "input=splits/test", "hydra.run.dir=predicted"], place)
    assert (predicted.code, predicted.err) == (0, "")
    with (place / "predicted" / "predictions.csv").open(newline="") as file:
        assert [row["row"] for row in csv.DictReader(file)] == [str(number) for number in range(1, 41)]


@pytest.mark.parametrize(
    "words",
    [
        ["data.root=AT/p.parquet", "data.group=author"],
        ["data.root=AT/one", "data.group=author", "data.num_folds=3"],
        ["data.root=AT/files", "data.group=/(a[0-9])_"],
    ],
    ids=["column", "folds", "names"],
)
def test_no_group_of_texts_is_in_two_parts(place: Path, words: list[str]) -> None:
    data = opened(place, "data=text", *(["data.target=label"] if "files" not in words[0] else []), *words)
    groups = [set(split.keys.groups.tolist()) for split in data.parts.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == (10 if "files" in words[0] else 20)


@pytest.mark.parametrize("words", [["AT/p.parquet", "day"], ["AT/files", "_([0-9-]+)_"]], ids=["column", "names"])
def test_the_newest_texts_are_the_test(place: Path, words: list[str]) -> None:
    data = opened(place, "data=text", f"data.root={words[0]}", f"data.time={words[1]}")
    train, valid, test = (split.keys.times for split in data.parts.values())
    assert train.max() < valid.min() and valid.max() < test.min()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["data.root=p.parquet", "data.group=autor"], 2, "data.group names autor, which is not a column of"),
        (["data.root=p.parquet", "data.text=vector"], 2, "data.text names vector, which is not a column of"),
        (["data.root=files", "data.group=author"], 3, "give a pattern of their names with one group in parentheses"),
        (["data.root=p.parquet", "data.time=text"], 3, "row 1: .* is not a date"),
        (["data.root=away"], 3, "data-00001-of-00002.arrow is missing: state.json lists it"),
        (["data.root=wrong.parquet"], 3, "label has the class 7, but 2 names"),
        (["data.root=part.parquet"], 3, "part.parquet, row 2: label is empty; each sample needs a class"),
        (["data=table", "data.root=p.parquet", "data.target=tags"], 3, "row 1: tags is .* each is a column of 0 and 1"),
        (["data.root=cut.parquet"], 3, "cut.parquet is damaged or truncated"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_does_not_fit_names_the_file_and_the_row(
    place: Path, tmp_path: Path, words: list[str], code: int, says: str
) -> None:
    for name in ("p.parquet", "files"):
        (tmp_path / name).symlink_to(place / name)
    save(tmp_path / "away", frame(20), FEATURES, num_files=2)
    (tmp_path / "away" / "data-00001-of-00002.arrow").unlink()
    write_parquet(tmp_path / "wrong.parquet", frame(20).with_columns(label=pl.Series([7] * 20)), FEATURES)
    labels = pl.Series([0, -1] + [0, 1] * 9)
    write_parquet(tmp_path / "part.parquet", frame(20).with_columns(label=labels), FEATURES)
    (tmp_path / "cut.parquet").write_bytes((place / "p.parquet").read_bytes()[:-9])
    target = ["data.target=label"] if words[0].endswith(("parquet", "away")) else []
    done = run_here(["data=text", *target, *words, *SHORT], tmp_path)
    assert done.code == code, done.err
    assert re.search(says, " ".join(done.err.split())), done.err


@pytest.mark.extras
@pytest.mark.parametrize("form", ["set", "splits", "data.parquet"])
def test_what_the_library_itself_writes_is_read_the_same(tmp_path: Path, form: str) -> None:
    """The other tests write its form by hand."""
    import datasets

    kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    rows = frame(60).select("text", "label").to_dict(as_series=False)
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    if form == "data.parquet":
        made.to_parquet(tmp_path / form)
    elif form == "set":
        made.save_to_disk(tmp_path / form, num_shards=3)
    else:
        parts = {"train": made.select(range(40)), "test": made.select(range(40, 60))}
        datasets.DatasetDict(parts).save_to_disk(tmp_path / form)
    data = opened(tmp_path, "data=text", f"data.root=AT/{form}")
    assert data.targets.names == ("neg", "pos")
    assert sum(len(split) for split in data.parts.values()) == 60
    assert (len(data.test) == 20) or form != "splits"
