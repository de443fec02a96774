"""`task=check`: whole runs are never called damaged; what is damaged or missing is named, with what still works."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nnrun.base.lock import locked
from support.command_line import run_here
from support.small_runs import WORDS, stop_at

DATA = Path(__file__).parents[2] / "data"
TRAIN = tuple(word for word in WORDS if not word.startswith(("export=", "report=")))


def checked(folder: Path, what: str, code: int = 0) -> dict[str, Any]:
    """What task=check says of a run, with --json."""
    outcome = run_here(["--json", "task=check", f"ckpt={what}"], folder)
    assert outcome.code == code, outcome.err
    assert not outcome.created
    return json.loads(outcome.out)


def files_with_faults(found: dict[str, Any]) -> list[str]:
    return [fault["file"] for run in found["runs"] for fault in run["faults"]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and what other commands made of it."""
    folder = tmp_path_factory.mktemp("trained")
    for words in (
        (*TRAIN, "export=safetensors", "logger=csv", "hydra.run.dir=run"),
        ("ckpt=run", "hydra.run.dir=evaluated"),
        ("task=report", "ckpt=run"),
        ("task=log", "ckpt=run", "logger=csv", "hydra.run.dir=logged"),
        ("task=inspect", "model=mlp", "hydra.run.dir=inspected"),
        ("resume=run", "trainer.epochs=4"),
    ):
        assert run_here(words, folder).code == 0, words
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, in a folder of its own."""
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "run"


def best(run: Path) -> Path:
    return run / "checkpoints" / json.loads((run / "checkpoints" / "manifest.json").read_text())["best"]


def change_a_bit(path: Path, place: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)


def test_what_a_run_and_later_commands_wrote_is_whole(trained: Path) -> None:
    found = checked(trained, ".")
    assert {Path(it["path"]).name for it in found["runs"]} >= {"run", "evaluated", "inspected"}
    assert all(it["ok"] and not it["notes"] for it in found["runs"])
    run = next(it for it in found["runs"] if it["path"].endswith("run"))
    on_disk = {path for path in (trained / "run").rglob("*") if path.is_file()}
    unread = {".lock", "run.log", "report.html", "MODEL_CARD.md"}
    assert run["files"] == len([path for path in on_disk if path.name not in unread])
    assert [name.partition("=")[0] for name in run["works"]] == ["nnrun ckpt", "nnrun resume", *REST]
    said = run_here(["task=check", "ckpt=run"], trained)
    assert said.code == 0
    assert "nothing is damaged: 1 run" in said.out


@dataclass(frozen=True)
class Damage:
    """Something done to a run: the file that is then named, what is said of it, and what still works."""

    do: Callable[[Path], object]
    file: str
    said: str
    works: tuple[str, ...] = ("nnrun ckpt=run", "nnrun resume=run", "exports/safetensors", "summary.json")


OTHERS = ("nnrun ckpt=run/checkpoints/step-",)
REST = ("exports/safetensors", "summary.json")
DAMAGES = {
    "a bit of the best checkpoint": Damage(
        lambda run: change_a_bit(best(run)),
        "checkpoints/step-",
        "its sha256 differs",
        (*OTHERS, "nnrun resume=run", *REST),
    ),
    "the best checkpoint is cut short": Damage(
        lambda run: os.truncate(best(run), 1000),
        "checkpoints/step-",
        "it has 1,000 bytes",
        (*OTHERS, "nnrun resume=run", *REST),
    ),
    "the best checkpoint is gone": Damage(
        lambda run: best(run).unlink(),
        "checkpoints/step-",
        "is missing",
        (*OTHERS, "nnrun resume=run", *REST),
    ),
    "no manifest": Damage(
        lambda run: (run / "checkpoints" / "manifest.json").unlink(),
        "checkpoints/manifest.json",
        "is missing",
        (*OTHERS, *REST),
    ),
    "a manifest of another content": Damage(
        lambda run: change_a_bit(run / "checkpoints" / "manifest.json"),
        "checkpoints/manifest.json",
        "",
        (*OTHERS, *REST),
    ),
    "no checkpoints": Damage(lambda run: shutil.rmtree(run / "checkpoints"), "checkpoints", "is missing", REST),
    "a bit of an artifact": Damage(
        lambda run: change_a_bit(run / "exports" / "safetensors" / "model.safetensors"),
        "exports/safetensors/model.safetensors",
        "not what the run wrote",
        ("nnrun ckpt=run", "nnrun resume=run", "summary.json"),
    ),
    "an artifact is gone": Damage(
        lambda run: shutil.rmtree(run / "exports"),
        "exports/safetensors/model",
        "is missing",
        ("nnrun ckpt=run", "nnrun resume=run", "summary.json"),
    ),
    "a row of metrics": Damage(
        lambda run: (run / "metrics.jsonl").open("a").write("{}\n"), "metrics.jsonl", "not what the run wrote"
    ),
    "the summary is gone": Damage(
        lambda run: (run / "summary.json").unlink(),
        "summary.json",
        "is missing",
        ("nnrun ckpt=run", "nnrun resume=run", "exports/safetensors"),
    ),
    "the status is gone": Damage(lambda run: (run / "status.json").unlink(), "status.json", "is missing"),
    "half a status": Damage(lambda run: os.truncate(run / "status.json", 200), "status.json", "cannot be read: "),
    "a status that names a file elsewhere": Damage(
        lambda run: (run / "status.json").write_text(
            (run / "status.json").read_text().replace('"config.yaml"', '"../config.yaml"')
        ),
        "status.json",
        "not in the run directory: '../config.yaml'",
    ),
    "a pipe in place of a file": Damage(
        lambda run: ((run / "summary.json").unlink(), os.mkfifo(run / "summary.json")),
        "summary.json",
        "cannot be read",
        ("nnrun ckpt=run", "nnrun resume=run", "exports/safetensors"),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_damaged_is_named_with_what_still_works(name: str, run: Path) -> None:
    damage = DAMAGES[name]
    damage.do(run)
    found = checked(run.parent, "run", 4)
    faults = found["runs"][0]["faults"]
    assert any(fault["file"].startswith(damage.file) and damage.said in fault["what"] for fault in faults), faults
    works = found["runs"][0]["works"]
    assert len({word.partition("-")[0] for word in works}) == len(damage.works), works
    assert all(any(word.startswith(begin) for word in works) for begin in damage.works), works
    outcome = run_here(["task=check", "ckpt=run"], run.parent)
    assert outcome.err.startswith("nnrun: damaged: run; looked at 1 run, ")
    assert outcome.out.startswith("damaged  run  ")
    assert f"  {faults[0]['file']}: {faults[0]['what']}\n" in outcome.out


def test_what_is_said_to_work_works(run: Path) -> None:
    change_a_bit(best(run))
    works = checked(run.parent, "run", 4)["runs"][0]["works"]
    assert run_here([works[0].removeprefix("nnrun "), "hydra.run.dir=again"], run.parent).code == 0
    assert run_here([works[-3].removeprefix("nnrun "), "trainer.epochs=5"], run.parent).code == 0
    assert files_with_faults(checked(run.parent, "run")) == []  # it is whole again


def test_a_stopped_run_is_whole_and_one_under_way_is_not_judged(tmp_path: Path, run: Path) -> None:
    with stop_at(12):
        assert run_here([*WORDS, "logger=csv", "hydra.run.dir=stopped"], tmp_path).code == 143
    assert checked(tmp_path, "stopped")["runs"][0]["state"] == "interrupted"
    status = json.loads((tmp_path / "stopped" / "status.json").read_text())
    (tmp_path / "stopped" / "status.json").write_text(json.dumps({**status, "state": "running", "files": None}))
    killed = checked(tmp_path, "stopped")["runs"][0]
    assert killed["state"] == "killed"
    assert killed["notes"] == ["it recorded no hashes of its records, which were only read"]
    (run / "summary.json").write_text("{}")  # as a resumed run may have it
    with locked(run):
        under_way = checked(tmp_path, "run")["runs"][0]
    assert under_way["state"] == "running"
    assert "only its checkpoints" in under_way["notes"][0]
    assert files_with_faults(checked(tmp_path, "run", 4)) == ["summary.json"]


def test_the_jobs_of_a_sweep(tmp_path: Path) -> None:
    words = [*WORDS, "trainer.epochs=1", "optimizer.lr=0.001,0.01,-1", "hydra.sweep.dir=sweep"]
    assert run_here(["-m", *words], tmp_path).code == 1  # a job that failed is no damage
    found = checked(tmp_path, "sweep")
    assert [Path(it["path"]).name for it in found["runs"]][-1] == "sweep"
    assert len(found["runs"]) == 4
    shutil.move(tmp_path / "sweep", tmp_path / "a copy")
    checked(tmp_path, "a copy")
    clean = ["task=clean", "runs=a copy/0_optimizer.lr-0.001", "clean.keep=best:1", "clean.yes=true"]
    assert run_here([*clean[:1], "runs=a copy", *clean[2:]], tmp_path).code == 0
    deleted = checked(tmp_path, "a copy")["runs"][-1]
    assert deleted["notes"] == ["deleted on purpose: 2 jobs"]
    left = next(path for path in (tmp_path / "a copy").glob("[0-9]*"))
    shutil.copytree(left, tmp_path / "elsewhere")
    shutil.rmtree(left)
    # A job that is lost otherwise is missed; the search needs a run beside it.
    (tmp_path / "a copy" / "other").mkdir()
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "a copy" / "other", dirs_exist_ok=True)
    assert files_with_faults(checked(tmp_path, "a copy", 4)) == [left.name]
    (tmp_path / "a copy" / "sweep.json").write_text("{")
    assert files_with_faults(checked(tmp_path, "a copy", 4)) == ["sweep.json"]


def test_one_file(run: Path) -> None:
    folder, artifact = run.parent, run / "exports" / "safetensors" / "model.safetensors"
    assert checked(folder, str(best(run)))["ok"]
    assert checked(folder, str(artifact))["ok"]
    shutil.copy(artifact, folder / "mine.safetensors")
    assert checked(folder, "mine.safetensors")["ok"]
    for path in (best(run), artifact):
        change_a_bit(path)
        assert files_with_faults(checked(folder, str(path), 4)) == ["."]
    (folder / "notes.txt").write_text("mine")
    outcome = run_here(["task=check", "ckpt=notes.txt"], folder)
    assert outcome.code == 4
    assert outcome.err == (
        "nnrun: ckpt=notes.txt: no run recorded its hash, and it is no checkpoint; name a run directory\n"
    )


@pytest.mark.parametrize("version", sorted(path.name for path in DATA.glob("[0-9]*")))
def test_runs_of_earlier_versions_are_whole(version: str, tmp_path: Path) -> None:
    """But those whose checkpoints were left out of the archive: they are missed."""
    with tarfile.open(DATA / version / "files.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    found = checked(tmp_path, ".", 4)
    faults = {(Path(it["path"]).parts[0], fault["file"]) for it in found["runs"] for fault in it["faults"]}
    assert faults == {("uninterrupted", "checkpoints")} | ({("swept", "checkpoints")} if version == "0.7.0" else set())
    assert len(found["runs"]) > 5


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["task=check"], 2, "task=check needs ckpt=: a run directory, a sweep, or a folder of runs"),
        (["task=check", "ckpt=run", "model=mlp"], 2, "model would have no effect with task=check"),
        (["task=check", "ckpt=rum"], 4, "ckpt=rum does not exist; did you mean 'run'?"),
        (["task=check", "ckpt=empty"], 4, "ckpt=empty holds no run: no directory there has a status.json"),
        (["-m", "task=check", "ckpt=run"], 2, "task=check measures nothing and cannot be a job of a sweep"),
    ],
)
def test_what_it_refuses(words: list[str], code: int, said: str, run: Path) -> None:
    (run.parent / "empty").mkdir()
    outcome = run_here(words, run.parent)
    assert outcome.code == code, outcome.err
    assert said in outcome.err
