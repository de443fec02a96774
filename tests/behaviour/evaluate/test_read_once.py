"""A checkpoint is named by a word, opened, verified and parsed once, and closed when its tensors are taken up."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nnrun
from nnrun.base.open_file import OpenFile
from nnrun.checkpoints.safe_pickle import PlainUnpickler
from nnrun.cli import main
from nnrun.tasks.train import run as module
from support.small_runs import WORDS, manifest, resume, tamper, train

ONE_EPOCH = (*WORDS, "trainer.epochs=1")


@dataclass
class Readings:
    """How often each checkpoint was opened, by its name, and each pickle parsed, by the name of its file."""

    opened: Counter[str] = field(default_factory=Counter)
    parsed: Counter[str] = field(default_factory=Counter)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    """Count what is read from here on. A file is told by its pickle, whatever opens it and whatever asks for it."""
    seen, names = Readings(), dict[bytes, str]()
    open_file, load = OpenFile.__init__, PlainUnpickler.load

    def opening(file: OpenFile, path: Path) -> None:
        open_file(file, path)
        seen.opened[path.name] += 1
        names[path.read_bytes()] = path.name

    def parsing(machine: PlainUnpickler) -> object:
        name = next(name for content, name in names.items() if machine._content in content)
        seen.parsed[name] += 1
        return load(machine)

    monkeypatch.setattr(OpenFile, "__init__", opening)
    monkeypatch.setattr(PlainUnpickler, "load", parsing)
    return seen


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is finished, one that was stopped in its second epoch, and an image."""
    folder = tmp_path_factory.mktemp("runs")
    assert train(folder / "done", "trainer.epochs=1") == 0
    assert train(folder / "stopped", stop=12) == 143
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(folder / "a.png")
    return folder


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


COMMANDS: dict[str, Callable[[Path], object]] = {
    "ckpt=": lambda run: main([f"ckpt={run}", "export=safetensors"]),
    "task=predict": lambda run: main(["task=predict", f"ckpt={run}", f"input={run.parent}/a.png"]),
    "task=inspect": lambda run: main(["task=inspect", f"ckpt={run}"]),
    "nnrun.load": lambda run: 0 if nnrun.load(run) else 1,
    "resume= of what is finished": resume,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_reads_one_checkpoint_opens_and_parses_it_once(runs: Path, readings: Readings, name: str) -> None:
    """Negative control: the next test, where two readings are counted."""
    assert COMMANDS[name](runs / "done") == 0
    best = manifest(runs / "done")["best"]
    assert readings.parsed == {best: 1}
    assert readings.opened[best] == 1 + (name == "resume= of what is finished")


def test_a_second_reading_is_counted(runs: Path, readings: Readings) -> None:
    for _ in range(2):
        nnrun.load(runs / "done")
    best = manifest(runs / "done")["best"]
    assert (readings.parsed, readings.opened) == ({best: 2}, {best: 2})


@pytest.mark.parametrize("word", ["init_from", "transfer.weights"])
def test_a_run_that_starts_from_a_checkpoint_reads_it_once_and_its_own_best_once(
    runs: Path, readings: Readings, tmp_path: Path, word: str
) -> None:
    run = tmp_path / "new"
    assert main([*ONE_EPOCH, f"{word}={runs / 'done'}", f"hydra.run.dir={run}", "seed=1"]) == 0
    assert readings.parsed == {manifest(runs / "done")["best"]: 1, manifest(run)["best"]: 1}


def test_a_resumed_run_reads_where_it_was_stopped_once_and_its_best_once(runs: Path, readings: Readings) -> None:
    run = runs / "stopped"
    last = manifest(run)["last"]
    assert resume(run) == 0
    assert readings.parsed == {last: 1, manifest(run)["best"]: 1}


def test_a_run_that_has_gone_on_since_its_checkpoint_was_read_is_not_resumed_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between the reading and the lock another process may resume the run, and end. Negative control: a second try."""
    run = tmp_path / "run"
    assert train(run, stop=12) == 143
    opening = module.open_session

    def late(*given: Any) -> Any:
        tamper(run, lambda training: training["progress"].update(num_rows=0))
        return opening(*given)

    monkeypatch.setattr(module, "open_session", late)
    assert resume(run) == 4
    assert f"{run} was resumed in another process since its checkpoint was read" in capsys.readouterr().err
    monkeypatch.setattr(module, "open_session", opening)
    assert resume(run) == 0


def test_a_file_that_is_not_asked_for_any_more_is_closed(runs: Path) -> None:
    """Negative control: it is open while somebody holds it, and a run that has removed it would still fill the disk."""
    path = runs / "done" / "checkpoints" / manifest(runs / "done")["best"]

    def held() -> int:
        links = [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        return sum(link.startswith(str(path)) for link in links)

    gc.collect()  # what other tests hold in circles
    first, second = OpenFile(path), OpenFile(path)
    assert held() == 2
    first.close()
    del second
    assert held() == 0
    nnrun.load(path)
    assert held() == 0


@pytest.mark.parametrize("key", ["ckpt", "resume", "init_from"])
def test_a_checkpoint_that_a_yaml_file_names_is_an_error_and_not_left_out(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(f"# @package _global_\n# Mine.\n#   nnrun\n{key}: there\n")
    assert main(["experiment=mine"]) == 2
    assert f"{key} can be set only on the command line: add {key}=there" in capsys.readouterr().err
