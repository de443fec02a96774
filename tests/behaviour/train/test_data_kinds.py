"""Every kind of data of the user's own, from end to end: trained, resumed to the same bits, evaluated, exported."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from nnrun.components.data import cache
from support.command_line import mnist_files, run_here, write_files
from support.pictures import OWN_DATA_FILES, make_arrays, make_folder
from support.small_runs import assert_same_bits, manifest, status, stop_at, summary, tree

KINDS = {
    "folder": ["data=folder", "data.root=my pictures = é"],
    "a folder of classes": ["data=folder", "data.root=classes", "data.image_size=10"],
    "npz": ["data=arrays", "data.root=my = arrays.npz"],
    "npy of floats": ["data=arrays", "data.root=npy"],
    "torchvision": ["data=torchvision", "data.dataset.name=MNIST", "data.download=false", "data.limit=60"],
    "own": ["data=mine"],
    "own of floats": ["data=mine", "data.dataset.kind=float"],
}
# One of each source; of pixels and of floats.
EXPORTED = ("folder", "npy of floats", "torchvision", "own")
# Batches of 16, of which the last is short, and a validation part.
WORDS = [
    *("model=mlp", "model.hidden=16", "optimizer.lr=0.01", "data.batch_size=16", "data.val_fraction=0.2"),
    *("trainer.epochs=2", "trainer.progress=false", "trainer.log_every_steps=1"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data of every kind, and the class and the YAML of the user's own."""
    home = tmp_path_factory.mktemp("kinds")
    make_folder(home / "my pictures = é", {"train": 30, "test": 10})
    make_folder(home / "classes", {"": 30})
    make_arrays(home / "my = arrays.npz", 30)
    make_arrays(home / "npy", 30)
    write_files(home, OWN_DATA_FILES | mnist_files("data"))
    return home


def run(home: Path, name: str, words: Sequence[str], *, stop: int | None = None) -> Path:
    """Run in a directory of that name; a stop is a SIGTERM at that poll."""
    directory = home / name
    with stop_at(stop):
        outcome = run_here([*words, f"hydra.run.dir={directory}"], home)
    assert outcome.code == (143 if stop else 0), outcome.err
    return directory


def go_on(home: Path, directory: Path, *words: str) -> int:
    trust = ["trust=[mydata]"] if "mine" in (directory / "config.yaml").read_text() else []
    return run_here([f"resume={directory}", *words, *trust], home).code


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_data_from_end_to_end(kind: str, home: Path) -> None:
    words = [*KINDS[kind], *WORDS]
    words.append("export=none")
    whole = run(home, f"{kind} whole".replace(" ", "-"), words)
    stopped = run(home, f"{kind} stopped".replace(" ", "-"), words, stop=4)
    assert status(stopped)["state"] == "interrupted"
    assert go_on(home, stopped) == 0
    assert_same_bits(stopped, whole)
    trust = ["trust=[mydata]"] if "own" in kind else []
    exporting = ["export=onnx"] if kind in EXPORTED else []
    evaluated = run(home, f"{kind} again".replace(" ", "-"), [f"ckpt={whole}", *exporting, *trust])
    proofs = summary(evaluated)["artifacts"].values()
    assert [(proof["ok"], proof["agreement"]) for proof in proofs] == [(True, 1.0)] * len(exporting)
    for path in evaluated.glob("exports/onnx/model.onnx"):
        meta = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        raw = "raw values, float32" if "floats" in kind else "raw pixels, uint8"
        assert meta["nnrun.input"] == f"{raw}, (N, C, H, W)"
    assert summary(evaluated)["metrics"]["test/accuracy"] == summary(whole)["metrics"]["test/accuracy"]
    if kind != "torchvision":  # that is noise
        assert summary(whole)["metrics"]["test/accuracy"] > 0.8


@pytest.mark.parametrize("kind", EXPORTED)
def test_where_the_samples_lie_changes_no_bit(kind: str, home: Path) -> None:
    rows = {}
    for words in (["device"], ["memory"], ["stream"], ["stream", "data.num_workers=2"]):
        name = f"{kind}-{'-'.join(words)}".replace(" ", "-").replace("=", "-")
        made = run(home, name, [*KINDS[kind], *WORDS, "export=none", f"data.residency={words[0]}", *words[1:]])
        best = torch.load(made / "checkpoints" / manifest(made)["best"], weights_only=True)["model"]
        rows[name] = ((made / "metrics.jsonl").read_bytes(), [value.tolist() for value in best.values()])
    first, *others = rows.values()
    assert all(other == first for other in others)
    other = run(home, f"{kind}-seed".replace(" ", "-"), [*KINDS[kind], *WORDS, "export=none", "seed=1"])
    assert (other / "metrics.jsonl").read_bytes() != first[0], "the negative control"


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_a_copy_of_the_data_elsewhere_serves_a_resumed_run_and_changed_data_do_not(
    kind: str, home: Path, tmp_path: Path
) -> None:
    words = [*KINDS[kind], *WORDS, "export=none"]
    whole = run(home, f"{kind}-before", words)
    stopped = run(home, f"{kind}-moved", words, stop=4)
    root = home / KINDS[kind][1].removeprefix("data.root=")
    copy = tmp_path / ("copy é" + root.suffix)
    if kind == "folder":
        shutil.copytree(root, copy, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(root, copy)
    changed = shutil.copytree(copy, tmp_path / "changed") if kind == "folder" else tmp_path / "changed.npz"
    if kind == "folder":
        next(changed.rglob("*.png")).unlink()
    else:
        with np.load(copy) as arrays:
            np.savez(changed, x=arrays["x"] // 2, y=arrays["y"])
    before = tree(stopped / "checkpoints")
    assert go_on(home, stopped, f"data.root={changed}") == 3
    assert tree(stopped / "checkpoints") == before
    assert go_on(home, stopped, f"data.root={copy}") == 0
    assert (stopped / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_a_checkpoint_that_names_a_class_of_somebody_s_is_not_run_unasked(home: Path) -> None:
    made = run(home, "named", [*KINDS["own"], *WORDS, "export=none"])
    outcome = run_here([f"ckpt={made}"], home)
    assert (outcome.code, "trust=[mydata]" in outcome.err) == (4, True)


def test_a_size_is_taken_by_one_s_own_pictures_and_a_network_s_decides_later(home: Path) -> None:
    made = run(home, "sized", [*KINDS["own"], *WORDS, "export=none", "data.image_size=8", "data.channels=3"])
    saved = torch.load(made / "checkpoints" / manifest(made)["last"], weights_only=True)["config"]
    assert saved["data"]["in_shape"] == [3, 8, 8]
    trained = run(home, "small", [*KINDS["a folder of classes"], *WORDS, "export=none"])
    # The folder's pictures are 12x12, and those that the network was trained on 10x10.
    run(home, "evaluated", [f"ckpt={trained}", f"data.root={home / 'classes'}"])


def test_skipped_files_are_named_in_the_log_and_counted_in_the_summary(home: Path, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "some", {"train": 20, "test": 10})
    (root / "train" / "bee" / "003.png").write_bytes(b"")
    made = run(home, "skipping", ["data=folder", f"data.root={root}", "data.on_bad=skip", *WORDS, "export=none"])
    assert summary(made)["data"]["skipped"] == 1
    log = (made / "run.log").read_text()
    assert "skipped: 1 sample that cannot be read" in log
    assert "train/bee/003.png is empty" in log


def test_a_network_with_batchnorm_takes_a_last_batch_of_one(home: Path, tmp_path: Path) -> None:
    """33 samples in batches of 32: the last one is filled up, so that BatchNorm has more than one sample to go by."""
    x = np.random.default_rng(0).integers(0, 256, (33, 8, 8), dtype=np.uint8)
    for part in ("train", "test"):
        np.save(tmp_path / f"x_{part}.npy", x)
        np.save(tmp_path / f"y_{part}.npy", np.arange(33) % 3)
    module = (
        "from torch import nn\n\ndef net(num_classes):\n    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), "
    )
    module += "nn.Linear(64, num_classes))\n"
    yaml = "# Mine.\n_target_: normed.net\nnum_classes: ${data.num_classes}\n"
    write_files(home, {"normed.py": module, "conf/model/normed.yaml": yaml})
    words = ["data=arrays", f"data.root={tmp_path}", "model=normed", "data.val_fraction=0", "early_stopping=none"]
    made = run(home, "normed", [*words, "data.batch_size=32", "trainer.epochs=2", "export=none"])
    assert summary(made)["train"]["steps"] == 4
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm1d(64)(torch.zeros(1, 64))  # the negative control


def test_data_that_fills_no_memory_stays_in_its_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the machine had room for nothing: the run streams, and reaches the same bits."""
    expected = run(home, "fits", [*KINDS["folder"], *WORDS, "export=none"])
    for module in ("nnrun.assembly.data.opened", "nnrun.core.residency"):
        monkeypatch.setattr(f"{module}.fits_in_memory", lambda _: False)
    made = run(home, "fits-not", [*KINDS["folder"], *WORDS, "export=none"])
    assert (made / "metrics.jsonl").read_bytes() == (expected / "metrics.jsonl").read_bytes()
    assert cache.cache_root().is_dir()
