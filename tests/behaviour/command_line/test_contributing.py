"""What CONTRIBUTING shows works as it stands: a model, a callback, a task and more, added by its words alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nnrun
from support.command_line import NNRUN, environment

pytestmark = pytest.mark.usefixtures("warm_python")

TOP = Path(nnrun.__file__).parents[2]
# A path that ends a paragraph, and the block below it.
BLOCK = re.compile(r"`([^`\n]+)`:\n\n```\w+\n(.*?)```", re.DOTALL)
# A line that belongs into a mapping of a file.
LINE = re.compile(r"[Ii]n `(\w+)` of\s`([^`\n]+)` the line `([^`\n]+)`")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program with what the page adds, and nothing else."""
    page, top = (TOP / "CONTRIBUTING.md").read_text(), tmp_path_factory.mktemp("house")
    shutil.copytree(TOP / "src", top / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(TOP / "conf", top / "conf")
    for path, text in BLOCK.findall(page):
        (top / path).parent.mkdir(exist_ok=True)
        (top / path).write_text(text)
    for name, path, line in LINE.findall(page):
        file = top / path
        file.write_text(
            re.sub(rf"(^{name}\b.*\{{)", rf"\1\n    {line}\n", file.read_text(), count=1, flags=re.MULTILINE)
        )
    table = top / "src/nnrun/tasks/table.py"
    table.write_text(table.read_text().replace("FOLDERS = (\n", 'FOLDERS = (\n    "census",\n'))
    with (top / "conf/config.yaml").open("a") as file:
        file.write("\ncensus:\n  least: 0\n")
    return top


def run(house: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NNRUN, *words],
        cwd=house,
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=str(house / "src"), COLUMNS="120"),
        check=False,
    )


def test_the_page_shows_a_part_of_each_kind() -> None:
    paths = [path for path, _ in BLOCK.findall((TOP / "CONTRIBUTING.md").read_text())]
    problems = ["brier", "brier", "center", "center", "ordinal", "ordinal"]
    stems = [Path(path).stem for path in paths]
    assert stems == ["wide", "wide", *problems, "npz", "npz", "norms", "norms", "lines", "lines", "record", "run"]
    assert not [path for path in paths if (TOP / path).exists()], "the negative control: none of it is there without"


def test_what_it_shows_passes_the_lint(house: Path) -> None:
    """As `make lint` has it; the negative control is an import of no use."""
    shutil.copy(TOP / "pyproject.toml", house)
    shown = [path for path, _ in BLOCK.findall((TOP / "CONTRIBUTING.md").read_text()) if path.endswith(".py")]
    (house / "src/nnrun/more.py").write_text('"""More."""\n\nimport os\n')
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise"]
    for paths, faults in ((shown, 0), (["src/nnrun/more.py"], 1)):
        found = subprocess.run([*command, *paths], cwd=house, capture_output=True, text=True, check=False)
        assert (found.returncode, found.stdout.count("F401")) == (faults, faults), found.stdout + found.stderr
    (house / "src/nnrun/more.py").unlink()


def test_help_lists_them(house: Path) -> None:
    told = run(house, "--help").stdout
    for text in ("One wide hidden layer.", "Weights as numpy arrays.", "how many samples each class has"):
        assert text in told


def test_the_model_trains_and_the_exporter_proves_it(house: Path) -> None:
    words = ("model=wide", "model.units=8", "data.limit=200", "trainer.epochs=1", "export=npz", "hydra.run.dir=r")
    done = run(house, *words)
    assert done.returncode == 0, done.stderr
    assert json.loads((house / "r/exports/npz/verification.json").read_text())["agreement"] == 1
    refused = run(house, "model=wide", "model.units=0")
    assert (refused.returncode, "model.units is 0; allowed: a whole number from 1 up" in refused.stderr) == (2, True)


def test_the_problem_its_loss_and_a_metric_train_and_are_watched(house: Path) -> None:
    words = ("problem=ordinal", "loss=center", "metric=brier", "data.limit=300", "trainer.epochs=2", "export=onnx")
    done = run(house, "model=mlp", *words, "early_stopping.monitor=valid/within_one", "hydra.run.dir=o")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((house / "o/summary.json").read_text())["metrics"]
    assert 0 < metrics["test/brier"] < 1
    assert metrics["test/accuracy"] < metrics["test/within_one"] < 1
    assert re.search(r"^test +within_one", done.stdout, re.MULTILINE), "it is quoted first"
    assert json.loads((house / "o/exports/onnx/verification.json").read_text())["metric"] == "within_one"
    without = run(house, "model=mlp", *words, "loss.share=0", "hydra.run.dir=w")
    assert without.returncode == 0, without.stderr
    assert json.loads((house / "w/summary.json").read_text())["metrics"]["test/loss"] != metrics["test/loss"]
    refused = run(house, "problem=ordinal", "loss=center", "loss.share=-1")
    assert refused.returncode == 2
    assert "loss.share is -1; allowed: a finite number from 0 up" in refused.stderr
    refused = run(house, "problem=ordinal", "early_stopping.monitor=valid/with_one", "hydra.run.dir=never")
    assert refused.returncode == 2
    assert re.search(
        r"monitor is 'valid/with_one'; allowed: .*, valid/within_one; did you mean 'valid/within_one'\?$",
        refused.stderr,
        re.MULTILINE,
    )
    assert not (house / "never").exists(), "it is known before a directory is made"


def test_the_callback_adds_rows_and_the_logger_writes_them(house: Path) -> None:
    words = ("callback=norms", "callback.norms.every_steps=2", "logger=lines", "data.limit=200", "trainer.epochs=1")
    done = run(house, "model=mlp", *words, "export=none", "hydra.run.dir=n")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (house / "n/metrics.jsonl").read_text().splitlines()]
    norms = [row for row in rows if row["split"] == "weights"]
    assert [row["step"] for row in norms] == [2, 4, 6]
    lines = (house / "n/lines.txt").read_text().splitlines()
    assert [line for line in lines if "weights/norm" in line] == [
        f"{row['step']} weights/norm {row['norm']}" for row in norms
    ]
    assert lines[-1] == "6 finished 0"
    again = run(house, "ckpt=n", "hydra.run.dir=again")
    assert again.returncode == 0, again.stderr
    assert not (house / "again/lines.txt").exists(), "the negative control: an evaluation calls neither"


def test_the_task_counts(house: Path) -> None:
    done = run(house, "task=census", "model=mlp", "hydra.run.dir=c")
    assert done.returncode == 0, done.stderr
    assert "model has no effect with task=census" in done.stdout
    counts = json.loads((house / "c/census.json").read_text())["train"]
    assert (list(counts), json.loads((house / "c/summary.json").read_text())["task"]) == (list("0123456789"), "census")
    refused = run(house, "task=census", "census.leest=1", "resume=c")
    assert refused.returncode == 2
    assert "did you mean 'census.least'?" in refused.stderr
    assert "task=census and resume exclude each other" in refused.stderr
