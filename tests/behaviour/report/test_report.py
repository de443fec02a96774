"""The report of a run: what is in it, to the value; what is left out of it; and that it changes nothing else."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

import nnrun.runs.page
from nnrun.base.lock import locked
from nnrun.base.shown import metric_text
from nnrun.cli import main
from nnrun.components.problems.classification import Classification
from support.pictures import make_folder
from support.small_runs import resume, status, summary, train, tree

pytestmark = pytest.mark.usefixtures("warm_python")

DATA = Path(__file__).parents[2] / "data"
HEADINGS = [
    *("Results", "Repeat this run", "Learning curves", "Test predictions", "Data", "Exports", "Time and memory"),
    *("Configuration", "Environment", "Notes and warnings"),
]
WRITTEN = ("report.html", "MODEL_CARD.md")
# A class whose name is HTML, and a file whose name would color a terminal too.
HOSTILE_CLASS, HOSTILE_FILE, ESCAPED_FILE = "<img src=x onerror=1>", "<b>\x1b[31mred.png", r"<b>\x1b[31mred.png"


class Read(HTMLParser):
    """A page as its reader sees it: titles, the rows of tables and of lists of facts, all text; and its pictures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.titles: list[str] = []
        self.rows: list[list[str]] = []
        self.pictures: list[str] = []
        self.text, self.charts = "", ""
        self._open: list[tuple[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(dict(attributes).get("src") or "")
        if tag in ("tr", "dt"):
            self.rows.append([])
        if tag in ("td", "th", "dt", "dd"):
            self.rows[-1].append("")
        if tag in ("h1", "h2"):
            self.titles.append("")
        if tag not in ("meta", "img"):
            self._open.append((tag, dict(attributes).get("id")))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tag, name = self._open[-1] if self._open else ("", None)
        if tag in ("script", "style"):
            self.charts += data if name == "charts" else ""
            return
        self.text += data
        if {"td", "th", "dt", "dd"} & {name for name, _ in self._open}:
            self.rows[-1][-1] += data if tag != "small" else f" {data}"
        if tag in ("h1", "h2"):
            self.titles[-1] += data

    def row(self, name: str, *, least: int = 2) -> list[str]:
        """The first row of at least so many cells whose first is `name`, without it."""
        return next(row[1:] for row in self.rows if row and row[0] == name and len(row) >= least)


def read(run: Path) -> Read:
    return Read((run / "report.html").read_text(encoding="utf-8"))


def points(charts: str, x: float) -> list[Any]:
    """Every number that the charts have at a place of their x axis."""
    found: list[Any] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("x") == x:
                found.extend(value for value in node.values() if isinstance(value, float))
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(json.loads(charts))
    return found


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training on the digits, with an export."""
    run = tmp_path_factory.mktemp("digits") / "run"
    assert train(run, "report=default", "export=onnx", "trainer.epochs=6", "optimizer.lr=3e-3") == 0
    return run


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A training on images with hostile names and one that cannot be read; its report leaves out what is private."""
    home = tmp_path_factory.mktemp("my home")
    root = make_folder(home / "private-album", {"": 12}, ("ant", HOSTILE_CLASS))
    (root / "ant" / "000.png").rename(root / "ant" / HOSTILE_FILE)
    (root / "ant" / "broken-file.png").write_bytes(b"not an image")
    with contextlib.chdir(home):
        words = ["data=folder", "data.root=private-album", "data.on_bad=skip", "data.batch_size=4", "model=mlp"]
        # It learns nothing: there are mistakes.
        still = ["optimizer.lr=1e-9", "trainer.epochs=1", "trainer.progress=false", "export=none"]
        assert main([*words, *still, "report.samples=false", "hydra.run.dir=secret-run"]) == 0
        yield home / "secret-run"


def test_a_report_has_each_section_and_its_numbers(digits: Path) -> None:
    page, found = read(digits), summary(digits)
    assert page.titles == ["mlp on digits", *HEADINGS]
    metrics, best = found["metrics"], found["best"]
    for name in ("accuracy", "loss", "f1", "top5_accuracy"):
        assert page.row(name)[:2] == [metric_text(metrics[f"test/{name}"]), metric_text(metrics[f"valid/{name}"])]
    baseline = found["details"]["test"]["baseline"]
    assert page.row("a trivial guess")[0].startswith(metric_text(baseline))
    assert page.row("gain over it") == [f"+{metric_text(metrics['test/accuracy'] - baseline)}"]
    value, _, between = page.row("test accuracy")[0].partition(" 95 % confidence interval ")
    low, high = map(float, between.split(" to "))
    assert value == metric_text(metrics["test/accuracy"])
    assert low < metrics["test/accuracy"] < high
    assert page.row("best weights") == [f"epoch {best['epoch']}, step {best['step']}, by valid/loss"]
    assert "nnrun repeat=run" in page.text  # from the current directory
    rows = [json.loads(line) for line in (digits / "metrics.jsonl").read_text().splitlines()]
    validated = next(row for row in rows if row["split"] == "valid" and row["epoch"] == 2)
    trained = [row["loss"] for row in rows if row["split"] == "train" and row["epoch"] == 2]
    at_two = points(page.charts, 2)
    # Each row covers as many steps as the others: their mean is that of the epoch.
    for expected in (validated["loss"], validated["accuracy"], sum(trained) / len(trained)):
        assert any(number == pytest.approx(expected, rel=1e-3) for number in at_two)
    assert page.row("training split") == ["163 samples"]
    assert page.row("validation split") == ["37 samples, held out by nnrun (data.split_seed=0)"]
    splits = found["data"]["splits"]
    assert [sum(split["counts"]) for split in splits.values()] == [163, 37, 200]
    assert page.row("3", least=4) in (
        [str(split["counts"][3]) for split in splits.values()],
        [metric_text(found["details"]["test"]["per_class"][3][key]) for key in ("precision", "recall", "f1")]
        + [str(splits["test"]["counts"][3])],
    )
    verified = found["artifacts"]["onnx"]
    assert page.row("onnx")[1:4] == ["yes", "100.00% of 200", f"{verified['max_abs_diff']:.1e}"]
    assert page.row("validation during the training")[0] == f"{found['time']['validation']:.2f}"
    assert page.row("peak memory of the process") == [f"{found['memory']['peak_bytes'] / 1e6:,.0f} MB"]
    assert page.row("optimizer.lr") == ["0.003", "0.001"]
    assert page.row("model") == ["mlp", "cnn"]
    # The negative control: a setting with its default is not among those that differ.
    assert page.row("optimizer.eps")[0] != page.row("optimizer.eps")[-1]
    assert page.row("torch") == [json.loads((digits / "environment.json").read_text())["versions"]["torch"]]


def test_a_model_card_has_the_same_numbers(digits: Path) -> None:
    _, head, body = (digits / "MODEL_CARD.md").read_text().split("---\n", 2)
    front, found = yaml.safe_load(head), summary(digits)
    assert front["library_name"] == "nnrun"
    assert front["metrics"][0] == "accuracy"
    (result,) = front["model-index"][0]["results"]
    assert (result["task"]["type"], result["dataset"]["name"]) == ("image-classification", "digits")
    assert result["metrics"][0] == {
        "type": "accuracy",
        "value": pytest.approx(found["metrics"]["test/accuracy"], abs=1e-6),
        "name": "test accuracy",
    }
    for heading in ("Intended use", "Training data", "Evaluation", "How to use", "Limitations", "Environment"):
        assert f"## {heading}\n" in body
    assert str(digits) not in body


def test_task_report_writes_the_same_files_and_nothing_else(digits: Path) -> None:
    before = tree(digits)
    for name in WRITTEN:
        (digits / name).unlink()
    with contextlib.chdir(digits.parent):
        assert main(["task=report", f"ckpt={digits.name}"]) == 0
    assert tree(digits) == before
    assert list(digits.parent.rglob("status.json")) == [digits / "status.json"]


def test_a_running_run_is_left_alone(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(digits)
    with locked(digits):
        assert main(["task=report", f"ckpt={digits}"]) == 5
    assert "is in use by pid" in capsys.readouterr().err
    assert {name: content for name, content in tree(digits).items() if name != ".lock"} == {
        name: content for name, content in before.items() if name != ".lock"
    }


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["task=report"], "task=report needs ckpt=: a run directory"),
        (["task=report", "ckpt=RUN", "report=none"], "report=none would write nothing"),
        (["task=report", "ckpt=RUN", "export=onnx"], "export has no effect with task=report"),
        (["-m", "task=report", "ckpt=RUN", "seed=1,2"], "cannot be a job of a sweep"),
        (["report.sample=false"], "did you mean 'report.samples'"),
        (["report=none", "report.samples=false"], "report.samples has no effect with report=none"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], why: str, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.replace("RUN", str(digits)) for word in words]) == 2
    assert why in capsys.readouterr().err


def test_names_are_texts_and_private_ones_are_left_out(photos: Path) -> None:
    private = ("private-album", "secret-run", "broken-file", "my home", photos.parent.name)
    for name in WRITTEN:
        text = (photos / name).read_text(encoding="utf-8")
        assert [word for word in (*private, "red.png", "data:image") if word in text] == [], name
    # An evaluation leaves out what the run did.
    with contextlib.chdir(photos.parent):
        assert main(["ckpt=secret-run", "report=default", "hydra.run.dir=secret-evaluation"]) == 0
    evaluated = (photos.with_name("secret-evaluation") / "report.html").read_text(encoding="utf-8")
    assert [word for word in (*private, "secret-evaluation", "red.png", "data:image") if word in evaluated] == []
    public = read(photos)
    assert public.pictures == []
    assert HOSTILE_CLASS in public.text
    # The negative control: by default they are there, as text.
    with contextlib.chdir(photos.parent):
        assert main(["task=report", "ckpt=secret-run", "report.samples=true"]) == 0
    page, card = read(photos), (photos / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert [word for word in private[:3] if word not in page.text] == []
    assert page.pictures
    assert all(picture.startswith("data:image/png") for picture in page.pictures)
    assert HOSTILE_CLASS in page.text
    assert "\x1b" not in page.text + page.charts
    assert "<img" not in card
    assert [word for word in (*private, "red.png") if word in card] == []


def test_report_none_leaves_it_out_and_task_report_writes_it_later(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(run, "trainer.epochs=1", "report=none") == 0
    assert not any((run / name).exists() for name in WRITTEN)
    assert main(["task=report", f"ckpt={run}"]) == 0
    assert all((run / name).exists() for name in WRITTEN)


def test_jobs_of_a_sweep_and_evaluations_write_one_on_request(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.chdir(tmp_path):
        for words in ([], ["report=default"]):
            folder = tmp_path / f"sweep{len(words)}"
            small = ["model=mlp", "data.limit=60", "trainer.epochs=1", "export=none", "trainer.progress=false"]
            assert main(["-m", "seed=1,2", *small, f"hydra.sweep.dir={folder}", *words]) == 0
            assert len(list(folder.glob("[0-9]*/summary.json"))) == 2
            assert len(list(folder.glob("[0-9]*/report.html"))) == 2 * len(words)
            run = tmp_path / f"evaluated{len(words)}"
            assert main([f"ckpt={digits}", f"hydra.run.dir={run}", *words]) == 0
            assert (run / "report.html").exists() == bool(words)
    assert "incomplete" not in capsys.readouterr().out
    assert main(["task=report", f"ckpt={run}"]) == 4
    assert "is no training: it has no checkpoint" in capsys.readouterr().err
    # It has nothing that a training alone has.
    assert read(run).titles[1:] == [heading for heading in HEADINGS if heading != "Learning curves"]
    assert "nnrun repeat=" not in read(run).text
    assert read(run).row("accuracy")[0] == metric_text(summary(digits)["metrics"]["test/accuracy"])


def test_nothing_that_makes_pages_is_imported_by_a_run_without_one(tmp_path: Path) -> None:
    code = """
import sys
from nnrun.cli import main

def makers():
    return sorted({"jinja2", "altair", "pandas", "vl_convert"} & set(sys.modules))

words = ["model=mlp", "data.limit=60", "trainer.epochs=1", "export=none", "--quiet"]
assert main([*words, "report=none", "hydra.run.dir=without"]) == 0
assert makers() == [], makers()
assert main([*words, "hydra.run.dir=with"]) == 0
assert makers() == ["jinja2"], makers()  # the negative control
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_a_run_that_ends_early_has_a_report_of_what_it_reached(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(run, "report=default", stop=15) == 143
    page = read(run)
    assert page.row("state") == ["interrupted: these are the results up to then"]
    assert "resume with" in page.row("reason")[0]
    assert page.row("loss")[0] != ""
    assert resume(run) == 0
    assert not any(row[:1] == ["state"] for row in read(run).rows)
    with contextlib.chdir(tmp_path):
        assert train(tmp_path / "diverged", "report=default", "optimizer=sgd", "optimizer.lr=1e30") == 6
    assert read(tmp_path / "diverged").row("state")[0].startswith("diverged")


def test_a_report_that_fails_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nnrun.runs.page, "write_page", fail)
    assert train(tmp_path / "run", "report=default", "trainer.epochs=1") == 0
    assert "note: the report is not written: OSError" in capsys.readouterr().out
    assert status(tmp_path / "run")["state"] == "finished"
    assert not (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize(
    "fault",
    [
        ("metrics.jsonl", -9, "1 line of metrics.jsonl cannot be read"),
        ("metrics.jsonl", None, "metrics.jsonl is missing"),
        ("summary.json", 50, "summary.json cannot be read"),
        ("summary.json", None, "summary.json is missing"),
        ("environment.json", 50, "environment.json cannot be read"),
        ("test_samples.npz", 900, "test_samples.npz cannot be read"),
    ],
)
def test_a_damaged_file_is_named_in_the_report_and_on_the_console(
    digits: Path, tmp_path: Path, fault: tuple[str, int | None, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is cut off at a byte, or gone. The negative control is the report of the whole run: it names none."""
    run, (name, length, said) = tmp_path / "run", fault
    shutil.copytree(digits, run)
    if length is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes((run / name).read_bytes()[:length])
    assert main(["task=report", f"ckpt={run}"]) == 0
    assert f"note: the report is incomplete: {said}" in capsys.readouterr().out
    assert f"this report is incomplete: {said}" in read(run).text
    assert "is incomplete" not in read(digits).text


def test_a_section_that_fails_leaves_the_others(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("of my own code")

    monkeypatch.setattr(Classification, "show", fail)
    try:
        assert main(["task=report", f"ckpt={digits}"]) == 0
        page = read(digits)
        assert page.titles[1:] == HEADINGS
        assert "cannot be made from the run's files (RuntimeError: of my own code)" in page.text
    finally:
        monkeypatch.undo()
        assert main(["task=report", f"ckpt={digits}"]) == 0


def test_runs_of_earlier_versions_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(DATA / "0.4.0" / "files.tar.xz") as files:
        files.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    for name, title in (("labels", "cnn on folder"), ("values", "cnn on arrays"), ("interrupted", "mlp on arrays")):
        before = tree(Path(name))
        assert main(["task=report", f"ckpt={name}"]) == 0
        page = read(Path(name))
        assert page.titles[0] == title
        assert page.titles[1:] == [heading for heading in HEADINGS if heading in page.titles]
        assert {"Results", "Learning curves", "Configuration"} <= set(page.titles)
        assert {path: content for path, content in tree(Path(name)).items() if path not in WRITTEN} == before
    page = read(Path("labels"))
    assert page.row("f1_macro")[0] == metric_text(summary(Path("labels"))["metrics"]["test/f1_macro"])
    assert page.row("dark", least=3)[-1] == "6"
    assert "test_samples.npz" in page.text
    # A damaged file of the run takes nothing else with it.
    Path("values/config.yaml").write_bytes(b"\xff{")
    Path("values/metrics.jsonl").write_text('{"step": "x"}\n[1]\n')
    assert main(["task=report", "ckpt=values"]) == 0
    assert read(Path("values")).row("r2")[0] == metric_text(summary(Path("values"))["metrics"]["test/r2"])
    shutil.rmtree("values")
