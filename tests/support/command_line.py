"""What the tests of the command line share: a table run in one process, a user's own network, real processes."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pickle
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NNRUN = (sys.executable, "-m", "nnrun")

# A network of the user's own: the YAML belongs into conf/model/, the module beside conf/.
OWN_YAML = """\
# A network of my own.
_target_: mynet.MyNet
in_shape: ${data.in_shape}
num_classes: ${data.num_classes}
hidden: 16
"""
OWN_MODULE = """\
import os, time
from math import prod
from torch import nn

class MyNet(nn.Sequential):
    def __init__(self, in_shape, num_classes, hidden=16, mood="well", api_key="", logins=None):
        if mood == "exits":
            raise SystemExit(0)
        if mood == "breaks":
            raise ValueError(f"no, not with {api_key!r}")
        super().__init__(nn.Flatten(), nn.Linear(prod(in_shape), hidden), nn.ReLU(), nn.Linear(hidden, num_classes))
        self.mood = mood

    def forward(self, inputs):
        time.sleep(float(os.environ.get("NAP_SECONDS", "0")))
        if self.mood == "raises":
            raise RuntimeError("in the first step")
        return super().forward(inputs)
"""
OWN = {"conf/model/mynet.yaml": OWN_YAML, "mynet.py": OWN_MODULE}

# A run that trains for a moment, and exports nothing.
SHORT = (
    "trainer=debug",
    "data.limit=200",
    "data.val_fraction=0.2",
    "export=none",
    "report=none",
    "trainer.progress=false",
)


@dataclass(frozen=True)
class Row:
    """A command line, the files (as latin-1) that it finds in its folder, and what must come of it."""

    words: Sequence[str]
    code: int
    says: Sequence[str]
    files: Mapping[str, str] = field(default_factory=dict)
    says_not: Sequence[str] = ()
    # Rows with the same folder run in the same one, and find what those before them have left.
    folder: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a command line."""

    code: int
    out: str
    err: str
    created: list[str]
    torch: bool
    folder: str


def environment(**more: str) -> dict[str, str]:
    """The environment of a child: one thread, no GPU, no bytecode, the usual buffer, none of nnrun's own variables.

    Nor what a command that another test ran in this process has set, or the width that pytest gives its workers.
    """
    without = ("NNRUN_", "PYTHONUNBUFFERED", "CUBLAS_WORKSPACE_CONFIG", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    fixed = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
    return kept | fixed | more


def notes(outcome: Outcome) -> str:
    """The lines of a command line's output that are notes."""
    return "\n".join(line for line in outcome.out.splitlines() if line.startswith("note: "))


def run_rows(rows: Mapping[str, Row], folder: Path) -> dict[str, Outcome]:
    """Run every row in this process; a folder of its own for each lies in `folder`."""
    outcomes = {}
    for name, row in rows.items():
        place = folder / row.folder if row.folder else Path(tempfile.mkdtemp(dir=folder))
        place.mkdir(exist_ok=True)
        write_files(place, row.files)
        outcomes[name] = run_here(row.words, place)
    return outcomes


def run_rows_apart(rows: Mapping[str, Row], folder: Path) -> dict[str, Outcome]:
    """Run every row in one process that has not imported torch and sees no GPU."""
    script = """
import pickle, sys
from support.command_line import run_rows
pickle.dump(run_rows(*pickle.load(sys.stdin.buffer)), sys.stdout.buffer)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=pickle.dumps((dict(rows), folder)),
        capture_output=True,
        env=environment(PYTHONPATH=str(Path(__file__).parents[1])),
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


def assert_ended_as(row: Row, outcome: Outcome) -> None:
    """The exit code and the words on stderr, where a run that goes well says nothing."""
    assert outcome.code == row.code, outcome.err
    for text in row.says:
        assert text in outcome.err
    assert bool(outcome.err) == (outcome.code != 0), outcome.err


def run_here(words: Sequence[str], folder: Path) -> Outcome:
    """Run a command line in this process, in `folder`; modules of the user's own that it loads are forgotten again."""
    from nnrun.cli import main

    folder = folder.resolve()
    out, err, path, before = io.StringIO(), io.StringIO(), list(sys.path), below(folder)
    forget_modules_of_tests()  # another test's may have the same name
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    finally:
        sys.path[:] = path
        forget_modules_of_tests()
    created = sorted(below(folder) - before)
    return Outcome(code, out.getvalue(), err.getvalue(), created, "torch" in sys.modules, str(folder))


def forget_modules_of_tests() -> None:
    """Let what lies in the folders of tests be imported anew: in those that pytest makes, wherever the project lies."""
    importlib.invalidate_caches()
    for name, module in list(sys.modules.items()):
        if "/pytest-of-" in str(getattr(module, "__file__", None) or ""):
            del sys.modules[name]


def below(folder: Path) -> set[str]:
    """The path of everything below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def nnrun(words: Sequence[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a process of its own, in `folder`."""
    return subprocess.run(
        [*NNRUN, *words], cwd=folder, capture_output=True, text=True, env=environment(**more), check=False
    )


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write files by their path below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1"))


def mnist_files(root: str, name: str = "MNIST", num_train: int = 60, num_test: int = 20) -> dict[str, str]:
    """A small random data set as MNIST's idx files, by path, in latin-1."""
    draw = random.Random(7)
    files = {}
    for prefix, number in (("train", num_train), ("t10k", num_test)):
        images = struct.pack(">IIII", 0x0803, number, 28, 28) + draw.randbytes(number * 784)
        labels = struct.pack(">II", 0x0801, number) + bytes(index % 10 for index in range(number))
        for part, content in (("images-idx3", images), ("labels-idx1", labels)):
            files[f"{root}/{name}/raw/{prefix}-{part}-ubyte"] = content.decode("latin-1")
    return files


def cifar_files(root: str, num_classes: int, num_train: int = 200, num_test: int = 100) -> dict[str, str]:
    """A small random data set as CIFAR-10's or, with 100 classes, CIFAR-100's pickles, by path, in latin-1."""
    import numpy as np

    draw = np.random.default_rng(7)
    folder, key, names, trains, test, meta = {
        10: ("cifar-10-batches-py", "labels", "label_names", [f"data_batch_{n}" for n in range(1, 6)], "test_batch", 1),
        100: ("cifar-100-python", "fine_labels", "fine_label_names", ["train"], "test", 0),
    }[num_classes]
    files: dict[str, dict] = {
        "batches.meta" if meta else "meta": {names: [f"class {number}" for number in range(num_classes)]}
    }
    for part, number in [*((name, num_train // len(trains)) for name in trains), (test, num_test)]:
        labels = [index % num_classes for index in range(number)]
        files[part] = {"data": draw.integers(0, 256, (number, 3072), dtype=np.uint8), key: labels}
    return {
        f"{root}/{folder}/{name}": pickle.dumps(value, protocol=2).decode("latin-1") for name, value in files.items()
    }
