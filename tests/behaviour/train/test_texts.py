"""Texts from a file to a proven network: train, resume, evaluate, export, predict; and wrong ones."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

import nnrun
from nnrun.base.errors import DataError
from nnrun.components.data.asked_texts import Asked
from nnrun.components.data.text_samples import text_samples
from nnrun.runs.samples import read_samples
from support.command_line import Outcome, run_here
from support.small_runs import assert_same_bits, status, stop_at, summary
from support.texts import make_texts, reviews

pytestmark = pytest.mark.usefixtures("warm_python")

WORDS = [
    *("data=text", "data.root=reviews.csv", "data.text=review", "data.target=label", "data.batch_size=16"),
    *("trainer.progress=false", "trainer.epochs=4", "optimizer.lr=0.02", "report=none"),
]
UNIGRAM = ("export=none", "tokenizer=unigram", "tokenizer.vocab_size=60")
NETWORKS = {
    "bag": (),
    "textcnn": ("model.dim=16", "model.filters=8"),
    "gru": ("model.dim=16", "model.hidden=8"),
    "transformer": ("model.dim=16", "model.depth=1"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("texts")
    make_texts(home / "reviews.csv", 240)
    return home


def run(home: Path, name: str, *words: str, stop: int | None = None) -> Outcome:
    with stop_at(stop):
        return run_here([*words, f"hydra.run.dir={home / name}"], home)


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    outcome = run(home, "trained", *WORDS, "data.max_length=32", "export=[onnx,safetensors]")
    assert (outcome.code, outcome.err) == (0, ""), outcome.out
    return home / "trained"


def predictions(run: Path) -> list[dict[str, str]]:
    with (run / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_is_learned_proven_and_said_what_is_cut(trained: Path) -> None:
    found = summary(trained)
    assert found["metrics"]["test/accuracy"] > 0.9
    assert {name: (row["ok"], row["agreement"]) for name, row in found["artifacts"].items()} == {
        "onnx": (True, 1.0),
        "safetensors": (True, 1.0),
    }
    num_cut = sum(len(text.split()) > 32 for text, _ in reviews(240))
    assert found["data"]["texts_cut"] == num_cut > 0
    assert f"cut {num_cut} of 240 texts to data.max_length=32 tokens" in (trained / "run.log").read_text()


def test_the_costliest_texts_are_kept_to_be_shown(trained: Path) -> None:
    """Each is the text of the line that its name gives."""
    samples, texts = read_samples(trained), [text for text, _ in reviews(240)]
    assert samples.paths and list(samples.texts) == samples.indices[samples.costliest(24)].tolist()
    paths = dict(zip(samples.indices.tolist(), samples.paths, strict=True))
    for index, text in samples.texts.items():
        assert text == texts[int(paths[index].removeprefix("reviews.csv#")) - 2]


def test_the_artifact_takes_any_length_without_nnrun(trained: Path) -> None:
    """The tokenizer beside it makes the numbers; padding changes nothing."""
    folder = trained / "exports" / "onnx"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("input", "tensor(int64)", ["batch", "length"])
    texts = ["a good film", "the plot was awful and poor " * 6]
    for width in (64, 200):
        rows = [tokenizer.encode(text).ids for text in texts]
        tokens = np.array([row + [0] * (width - len(row)) for row in rows], dtype=np.int64)
        (scores,) = session.run(None, {"input": tokens})
        assert scores.argmax(1).tolist() == [1, 0], "neg is before pos"


def test_the_tokenizer_knows_the_training_texts_alone(home: Path, tmp_path: Path) -> None:
    with (tmp_path / "split.csv").open("w", newline="") as file:
        rows = [
            (text, label, ("train", "valid", "test")[min(place // 80, 2)])
            for place, (text, label) in enumerate(reviews(240))
        ]
        rows = [(f"{text} only{part} only{part}", label, part) for text, label, part in rows]
        csv.writer(file).writerows([("text", "label", "split"), *rows])
    outcome = run(tmp_path, "run", "data=text", "data.root=split.csv", *WORDS[4:], "export=none")
    assert outcome.code == 0, outcome.err
    assert "note: model=auto is bag, problem=auto is classification, loss=auto is cross_entropy" in outcome.out
    vocabulary = Tokenizer.from_file(str(tmp_path / "run" / "tokenizer.json")).get_vocab()
    assert "onlytrain" in vocabulary
    assert not {"onlyvalid", "onlytest"} & set(vocabulary)


@pytest.fixture(scope="module")
def whole(home: Path) -> Path:
    """With the tokenizer whose training differs from run to run."""
    assert run(home, "whole", *WORDS, *UNIGRAM).code == 0
    return home / "whole"


def test_a_stopped_run_is_resumed_to_the_same_bits(home: Path, whole: Path) -> None:
    stopped = home / "stopped"
    assert run(home, "stopped", *WORDS, *UNIGRAM, stop=17).code == 143
    assert status(stopped)["state"] == "interrupted"
    assert run_here([f"resume={stopped}"], home).code == 0
    assert_same_bits(stopped, whole)
    assert (stopped / "tokenizer.json").read_bytes() == (whole / "tokenizer.json").read_bytes()


def test_every_residence_gives_the_same_bits(home: Path, whole: Path) -> None:
    assert run(home, "stream", *WORDS, *UNIGRAM, "data.residency=stream").code == 0
    assert run(home, "other-seed", *WORDS, *UNIGRAM, "seed=1", "trainer.epochs=1").code == 0
    rows = [(home / name / "metrics.jsonl").read_bytes() for name in ("whole", "stream", "other-seed")]
    assert rows[0] == rows[1]
    assert not rows[0].startswith(rows[2][:200]), "the negative control"


@pytest.mark.parametrize("model", list(NETWORKS)[1:])
def test_every_network_is_proven_at_several_lengths(home: Path, model: str) -> None:
    outcome = run(home, model, *WORDS, f"model={model}", *NETWORKS[model], "trainer.epochs=2")
    assert "=auto is" not in outcome.out, "it is as assumed, but for the network, which is typed"
    assert (outcome.code, outcome.err) == (0, "")
    found = summary(home / model)
    row = found["artifacts"]["onnx"]
    assert (row["ok"], row["agreement"], row["num_samples"], row["notes"]) == (True, 1.0, len_of_test(found), [])


def len_of_test(found: dict) -> int:
    return found["data"]["splits"]["test"]["samples"]


@pytest.mark.parametrize(("target", "metric", "least"), [("stars", "r2", 0.5), ("tags", "f1_macro", 0.8)])
def test_values_and_labels_are_learned_too(home: Path, target: str, metric: str, least: float) -> None:
    words = [word for word in WORDS if not word.startswith("data.target")]
    words += ["model=textcnn", "model.dim=16", "model.filters=8", "model.dropout=0"]
    outcome = run(home, target, *words, f"data.target={target}", "export=none")
    assert (outcome.code, outcome.err) == (0, "")
    assert summary(home / target)["metrics"][f"test/{metric}"] > least


def test_a_run_is_evaluated_with_its_own_tokenizer(home: Path, trained: Path) -> None:
    assert run(home, "again", f"ckpt={trained}").code == 0
    assert summary(home / "again")["metrics"] == summary(trained)["metrics"]
    make_texts(home / "others.csv", 50, seed=9)
    outcome = run(home, "others", f"ckpt={trained}", "data.root=others.csv")
    assert outcome.code == 0, outcome.err
    assert summary(home / "others")["metrics"]["test/accuracy"] > 0.8
    refused = run(home, "refused", f"ckpt={trained}", "tokenizer=bpe")
    assert (refused.code, "tokenizer=bpe has no effect" in refused.err) == (2, True)


@pytest.mark.parametrize("source", ["trained", "trained/exports/onnx/model.onnx"])
def test_predictions_for_lines_tables_and_json(home: Path, trained: Path, source: str) -> None:
    (home / "new.txt").write_text("a good film\nawful awful\n\n", encoding="utf-8")
    rows = [{"stars": 5, "review": "a lovely plot"}, {"review": "poor actors", "stars": 1}]
    (home / "new.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for name, title, names, classes in (
        ("new.txt", "row", ["1", "2", "3"], ["pos", "neg"]),
        ("new.jsonl", "row", ["1", "2"], ["pos", "neg"]),
        ("reviews.csv", "id", [f"r{place}" for place in range(240)], ["pos", "neg"]),
    ):
        outcome = run(
            home,
            f"{Path(source).name}-{name}",
            "task=predict",
            f"ckpt={home / source}",
            f"input={name}",
            "data.text=review",
        )
        assert (outcome.code, outcome.err) == (0, "")
        assert ("of 240 texts to 32 tokens, the most that the network takes" in outcome.out) == (name == "reviews.csv")
        found = predictions(home / f"{Path(source).name}-{name}")
        assert [row[title] for row in found] == names
        assert [row["class"] for row in found[:2]] == classes
    with nnrun.predictor(home / source) as predictor:
        assert [row["class"] for row in predictor(["a great film", "bad"])] == ["pos", "neg"]
        assert predictor("a great film")[0]["class"] == "pos"


@pytest.mark.extras
def test_a_tokenizer_of_many_megabytes_travels_with_every_artifact(home: Path) -> None:
    """As large language models have them: the file beside is not needed to predict."""
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "good", "bad", "film"])}
    vocabulary |= {f"{place:0150}": place for place in range(5, 30_000)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(home / "large.json"), pretty=False)
    assert (home / "large.json").stat().st_size > 4_500_000
    words = [
        *WORDS,
        "trainer.epochs=1",
        "tokenizer=file",
        "tokenizer.file=large.json",
        "model.dim=2",
        "model.buckets=8",
    ]
    outcome = run(home, "large", *words, "export=[onnx,safetensors]")
    assert (outcome.code, outcome.err) == (0, ""), outcome.out
    found = [
        nnrun.predictor(home / "large" / source)(["a good film"])
        for source in ("", "exports/onnx/model.onnx", "exports/safetensors/model.safetensors")
    ]
    assert found[0][0]["class"] == found[1][0]["class"] == found[2][0]["class"]


def folders(root: Path) -> None:
    for place, (text, label) in enumerate(reviews(60)):
        (root / "texts" / label).mkdir(parents=True, exist_ok=True)
        (root / "texts" / label / f"{place}.txt").write_text(text, encoding="utf-8")
    (root / "texts" / "pos" / "notes.pdf").write_bytes(b"%PDF")


def lines(root: Path) -> None:
    rows = [json.dumps({"label": label, "text": text}) for text, label in reviews(60)]
    (root / "texts").mkdir()
    (root / "texts" / "train.jsonl").write_text("\n".join(rows[:40]), encoding="utf-8")
    (root / "texts" / "test.jsonl.gz").write_bytes(gzip.compress("\n".join(rows[40:]).encode()))


def of_other_systems(root: Path) -> None:
    rows = "".join(f"{label};{text}\r\n" for text, label in reviews(60))
    (root / "texts").write_bytes(b"")
    (root / "texts").unlink()
    (root / "texts").mkdir()
    (root / "texts" / "all.csv").write_bytes(b"\xff\xfe" + ("label;text\r\n" + rows).encode("utf-16-le"))


@pytest.mark.parametrize("make", [folders, lines, of_other_systems])
def test_texts_are_read_in_every_form(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    words = ["data=text", "data.root=texts", "trainer.epochs=1", "data.batch_size=8", "export=none", "report=none"]
    outcome = run(tmp_path, "run", *words)
    assert (outcome.code, outcome.err) == (0, ""), outcome.out
    assert ("skipped 1 file in" in outcome.out) == (make is folders)
    splits = summary(tmp_path / "run")["data"]["splits"]
    assert sum(split["samples"] for split in splits.values()) == 60


HEAD = b"text,label\n"
GOOD = b"".join(f"{text},{label}\n".encode() for text, label in reviews(40))
WRONG: dict[str, tuple[bytes, str]] = {
    "a column is missing": (b"words,stuff,label\na,b,pos\n", "name the one of the texts with data.text="),
    "one class": (HEAD + GOOD.replace(b",neg", b",pos"), "classification needs at least two classes"),
    "an empty class": (HEAD + GOOD + b"fine,\n", "line 42: label is empty; each sample needs a class"),
    "another encoding": (HEAD + GOOD + "caf\xe9,pos\n".encode("latin-1"), "line 42 is not UTF-8"),
    "a ragged line": (HEAD + GOOD + b"fine,pos,much\n", "line 42 has 3 cells, but the header has 2"),
    "a column twice": (b"text,label,text\n" + b"a,pos,b\n", "two columns with the title text"),
    "no samples": (HEAD, "has a header line but no samples"),
    "nothing": (b"", "is empty"),
    "texts that are all empty": (HEAD + b",pos\n,neg\n" * 20, "all training texts are empty"),
}


def test_a_class_that_is_missing_makes_no_labels_of_classes(tmp_path: Path) -> None:
    """Negative control: with several labels in a cell, an empty one means none."""
    asked = Asked(None, None, "auto", "natural", "fail")
    (tmp_path / "t.csv").write_bytes(HEAD + GOOD + b"fine,\n")
    with pytest.raises(DataError, match=r"line 42: label is empty; each sample needs a class.*data\.targets=labels"):
        text_samples(str(tmp_path / "t.csv"), asked, None)
    (tmp_path / "t.csv").write_bytes(HEAD + GOOD + b"fine,\nboth,pos;neg\n")
    assert text_samples(str(tmp_path / "t.csv"), asked, None).targets.kind == "labels"


@pytest.mark.parametrize("name", WRONG)
def test_wrong_data_is_an_error_of_file_and_line(tmp_path: Path, name: str) -> None:
    content, expected = WRONG[name]
    (tmp_path / "t.csv").write_bytes(content)
    outcome = run(tmp_path, "run", "data=text", "data.root=t.csv", "data.targets=classes", "export=none")
    assert outcome.code == 3
    assert outcome.err.startswith("nnrun: ")
    assert "t.csv" in outcome.err or name == "texts that are all empty"
    assert expected in outcome.err


def test_a_cell_without_an_end_and_json_of_another_kind_name_their_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(HEAD + GOOD + b'"' + b"never closed " * 1_400_000)
    outcome = run(tmp_path, "run", "data=text", "data.root=t.csv")
    assert (outcome.code, "line 42: a cell has more than 16,777,216 characters" in outcome.err) == (3, True)
    (tmp_path / "t.jsonl").write_text('{"text": "a", "label": "x"}\n[1]\n{"text": {"no": 1}}\n', encoding="utf-8")
    outcome = run(tmp_path, "other", "data=text", "data.root=t.jsonl")
    assert (outcome.code, "line 2 is not a JSON object" in outcome.err, "line 3: a dict" in outcome.err) == (
        3,
        True,
        True,
    )


def test_odd_texts_are_read(tmp_path: Path) -> None:
    """A byte order mark, NUL, quotes and line breaks in a cell, an empty text, `${`, a tab, other alphabets."""
    odd = (
        b'"a ""good"" film\nof it",pos\n\x00 bad\x00,neg\n,pos\n'
        b"${oc.env:HOME} $ good,pos\n\xe5\xa5\xbd\xe7\x94\xb5\xe5\xbd\xb1,pos\n"
    )
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + HEAD + GOOD + odd * 3)
    words = ["data=text", "data.root=t.csv", "trainer.epochs=1", "data.batch_size=8", "export=none", "report=none"]
    outcome = run(tmp_path, "run", *words, "tokenizer.min_frequency=1")
    assert (outcome.code, outcome.err) == (0, ""), outcome.out
    assert "3 of 55 texts have no token: they are empty" in outcome.out
    assert run(tmp_path, "again", f"ckpt={tmp_path / 'run'}").code == 0
    assert summary(tmp_path / "again")["metrics"] == summary(tmp_path / "run")["metrics"]
