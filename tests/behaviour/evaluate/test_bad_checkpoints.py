"""Bad checkpoints, line by line: the exit code, the words, no traceback, nothing run, and the files as they were.

Negative control: the same commands on what is whole end well (the rows with code 0, and the first test).
"""

from __future__ import annotations

import os
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from nnrun.checkpoints.folder import CheckpointFolder
from support.command_line import run_here
from support.small_runs import flip, manifest, train, tree


@dataclass(frozen=True)
class Case:
    """A stopped run and a finished one, copies of the test's own, and a folder for what is made of them."""

    folder: Path
    stopped: Path
    whole: Path

    @property
    def best(self) -> Path:
        return self.whole / "checkpoints" / manifest(self.whole)["best"]

    @property
    def file(self) -> Path:
        """A lone file whose name states no hash: a stranger can give it any content."""
        return Path(shutil.copy(self.best, self.folder / "stranger.ckpt"))

    def forged(self, change: Callable[[dict[str, Any]], object]) -> Path:
        """The stranger's file with something else in it, written by torch as a proper one."""
        payload = torch.load(self.best, weights_only=True)
        change(payload)
        torch.save(payload, self.folder / "stranger.ckpt")
        return self.folder / "stranger.ckpt"

    def forged_run(self, change: Callable[[dict[str, Any]], object]) -> Path:
        """The stopped run with something else in its last checkpoint, whose manifest says that all is well."""
        path = self.stopped / "checkpoints" / manifest(self.stopped)["last"]
        payload = torch.load(path, weights_only=True)
        change(payload)
        del payload["schema"]
        CheckpointFolder(self.stopped, 2).save(payload, payload["training"]["progress"]["step"], is_best=False)
        return self.stopped


def overwrite(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def cut(path: Path, length: int, *, zeros: bool = False) -> Path:
    content = path.read_bytes()
    return overwrite(path, content[:length] + bytes(len(content) - length if zeros else 0))


class Attack:
    """What runs when a careless program unpickles it."""

    def __reduce__(self):
        return os.system, ("touch canary",)


def script(path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    return path


def exported(path: Path) -> Path:
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(2, 2),)), path)
    return path


def archived(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", "{}")
        archive.writestr("handler.py", "open('canary', 'w')")
    return path


def from_cuda(case: Case) -> Path:
    """The file as a GPU would have written it: its tensors say that they lie on one, and so does its config."""
    original = torch.serialization.location_tag
    torch.serialization.location_tag = lambda storage: "cuda:0"  # type: ignore[assignment]
    try:
        return case.forged(lambda payload: payload["config"]["trainer"].update(device="cuda:0", precision="fp16"))
    finally:
        torch.serialization.location_tag = original


def huge(case: Case) -> Path:
    """A file of some bytes whose tensor claims 2**40 numbers, in a storage that is there."""
    small = torch.zeros(1).as_strided((2**40,), (0,))
    return case.forged(lambda payload: payload["model"].update({"head.weight": small}))


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def bomb() -> list[Any]:
    value: list[Any] = [1]
    for _ in range(30):
        value = [value, value]
    return value


def set_config(case: Case, key: str, value: object) -> Path:
    """The stranger's file with one setting changed."""

    def change(payload: dict[str, Any]) -> None:
        *sections, leaf = key.split(".")
        node = payload["config"]
        for section in sections:
            node = node[section]
        node[leaf] = value

    return case.forged(change)


@dataclass(frozen=True)
class Line:
    """A line of the catalogue: what is made of the case, giving the words of a command; the code; what is said."""

    make: Callable[[Case], Sequence[str]]
    code: int
    says: Sequence[str]


def ckpt(make: Callable[[Case], Path]) -> Callable[[Case], Sequence[str]]:
    return lambda case: [f"ckpt={make(case)}"]


LINES: dict[str, Line] = {
    "missing": Line(ckpt(lambda c: c.folder / "wholle"), 4, ["wholle does not exist; did you mean 'whole'?"]),
    "a directory that is no run": Line(
        ckpt(lambda c: c.whole / "checkpoints"), 4, ["is not a run directory: it has no 'checkpoints' folder"]
    ),
    "a run that failed before its first checkpoint": Line(
        lambda c: (shutil.rmtree(c.stopped / "checkpoints"), [f"resume={c.stopped}"])[1],
        4,
        ["failed before its first checkpoint; remove it and start the run again"],
    ),
    "empty": Line(ckpt(lambda c: overwrite(c.file, b"")), 4, ["stranger.ckpt is empty"]),
    "truncated": Line(ckpt(lambda c: cut(c.best, 5000)), 4, ["is damaged: it has 5,000 bytes, but the manifest says"]),
    "truncated, a stranger's": Line(ckpt(lambda c: cut(c.file, 5000)), 4, ["is not a checkpoint of nnrun"]),
    "one bit flipped": Line(ckpt(lambda c: (flip(c.best), c.best)[1]), 4, ["is damaged: its sha256 differs"]),
    "one bit flipped, alone": Line(
        ckpt(lambda c: (p := Path(shutil.copy(c.best, c.folder)), flip(p))[0]), 4, ["is damaged: its sha256"]
    ),
    "zeroed tail": Line(ckpt(lambda c: cut(c.best, 90_000, zeros=True)), 4, ["is damaged: its sha256"]),
    "another format": Line(ckpt(lambda c: overwrite(c.file, b"\x89PNG\r\n" * 99)), 4, ["not a checkpoint of nnrun"]),
    "malicious pickle": Line(
        ckpt(lambda c: c.forged(lambda payload: payload.update(note=Attack()))), 4, ["it holds posix.system"]
    ),
    "a bare malicious pickle": Line(ckpt(lambda c: overwrite(c.file, pickle.dumps(Attack()))), 4, ["is a bare pickle"]),
    "a _target_ that would run": Line(
        ckpt(lambda c: set_config(c, "model._target_", "os.system")), 4, ["model._target_ is 'os.system'", "trust=[os]"]
    ),
    "a _target_ inside another's parameters": Line(
        ckpt(lambda c: set_config(c, "model.hidden", {"_target_": "os.getcwd"})),
        4,
        ["its config is invalid: model.hidden is"],
    ),
    "an object under a torch name": Line(
        ckpt(lambda c: set_config(c, "model._target_", "torch.nn.modules.module.torch.load")),
        4,
        ["does not ship"],
    ),
    "a function of ours": Line(
        ckpt(lambda c: set_config(c, "loss._target_", "nnrun.cli.main")), 4, ["loss._target_ is 'nnrun.cli.main'"]
    ),
    "an _instantiator": Line(
        ckpt(lambda c: set_config(c, "model._instantiator_", "os.system")),
        4,
        ["its config is invalid", "_instantiator_"],
    ),
    "a resolver": Line(ckpt(lambda c: set_config(c, "data.root", "${oc.env:HOME}")), 4, ["contains '${'"]),
    "another architecture": Line(
        lambda c: [f"ckpt={c.whole}", "model.hidden=[7,8,9]"], 4, ["(7 mismatches): ", " is missing; ", "and 2 more"]
    ),
    "no key matches": Line(
        ckpt(lambda c: c.forged(lambda p: p.update(model={"x.weight": torch.zeros(2)}))),
        4,
        ["none of its names are the network's: it has x.weight"],
    ),
    "NaN weights": Line(
        ckpt(lambda c: c.forged(lambda p: p["model"]["head.bias"].fill_(float("nan")))), 4, ["holds NaN or infinite"]
    ),
    "a tensor of 2**40 elements": Line(ckpt(huge), 4, ["a tensor claims 1,099,511,627,776 elements in a storage of 1"]),
    "a newer schema": Line(
        ckpt(lambda c: c.forged(lambda p: p.update(schema=99))), 4, ["written by a newer nnrun (schema 99); upgrade"]
    ),
    "written on CUDA": Line(ckpt(from_cuda), 0, []),
    "TorchScript": Line(ckpt(lambda c: script(c.folder / "x.pt")), 4, ["is TorchScript: that is code"]),
    "a .pt2": Line(ckpt(lambda c: exported(c.folder / "x.pt2")), 4, ["is a .pt2 program: that is code"]),
    "a .mar": Line(ckpt(lambda c: archived(c.folder / "x.mar")), 4, ["is a TorchServe archive: that is code"]),
    "newest damaged on resume": Line(
        lambda c: (flip(c.stopped / "checkpoints" / manifest(c.stopped)["last"]), [f"resume={c.stopped}"])[1], 0, []
    ),
    "best damaged on ckpt": Line(
        ckpt(lambda c: (flip(c.best), c.whole)[1]), 4, ["other checkpoints, which are other models: ckpt="]
    ),
    "an alias bomb": Line(ckpt(lambda c: set_config(c, "model.hidden", bomb())), 4, ["nested too deep or too large"]),
    "deep nesting": Line(ckpt(lambda c: set_config(c, "model.hidden", nested(99))), 4, ["nested too deep"]),
    "all damaged": Line(
        lambda c: (
            [flip(c.stopped / "checkpoints" / entry["name"]) for entry in manifest(c.stopped)["files"]],
            [f"resume={c.stopped}"],
        )[1],
        4,
        ["has no intact checkpoint"],
    ),
    "resume with a config that differs": Line(
        lambda c: [f"resume={c.stopped}", "optimizer.lr=0.5"], 2, ["optimizer.lr: 0.001 -> 0.5"]
    ),
    "resume with data that changed": Line(
        lambda c: [f"resume={c.forged_run(lambda p: p.update(data_fingerprint='0'))}"], 3, ["the data is not the same"]
    ),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert train(folder / "whole") == 0
    assert train(folder / "stopped", stop=12) == 143
    return folder


@pytest.mark.parametrize("name", LINES)
def test_a_bad_checkpoint_is_refused_with_its_reason(runs: Path, tmp_path: Path, name: str) -> None:
    case = Case(tmp_path, tmp_path / "stopped", tmp_path / "whole")
    shutil.copytree(runs / "whole", case.whole)
    shutil.copytree(runs / "stopped", case.stopped)
    line = LINES[name]
    words = line.make(case)
    before = tree(tmp_path)
    done = run_here([*words, *([] if words[0].startswith("resume") else ["hydra.run.dir=out"])], tmp_path)
    assert done.code == line.code, done.err
    assert all(text in done.err for text in line.says), done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "canary").exists()
    if line.code:
        assert all(text.startswith("nnrun: ") for text in done.err.splitlines())
        # Where the network and the data are already known, a run has begun that says in its status why it failed.
        after = {path: content for path, content in tree(tmp_path).items() if not path.startswith("out/")}
        described = ("environment.json", "config.yaml", "overrides.yaml")
        ignored = {f"stopped/{file}" for file in ("status.json", "run.log", ".lock", *described)}
        assert {k: v for k, v in after.items() if k not in ignored} == {
            k: v for k, v in before.items() if k not in ignored
        }


def test_a_good_checkpoint_is_evaluated(runs: Path, tmp_path: Path) -> None:
    case = Case(tmp_path, runs / "stopped", runs / "whole")
    for path in (case.whole, case.best, case.file):
        assert run_here([f"ckpt={path}"], tmp_path).code == 0
