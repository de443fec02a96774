"""test_samples.npz: what a network predicted for each sample of the test part, as the summary has it in sum."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nnrun
from nnrun.api import ArtifactError, SampleResults, Split, Summary, Targets, read_samples
from nnrun.components.data.digits import Digits
from nnrun.components.problems.classification import Classification
from nnrun.core.lazy_samples import Stored
from nnrun.runs.samples import write_samples
from nnrun.tasks.train.pictures import pictures_of
from nnrun.tasks.train.tested import costliest, results_of
from support.pictures import make_folder

DATA = Path(__file__).parents[2] / "data"
WORDS = ["model=mlp", "trainer.epochs=2", "data.val_fraction=0.2", "export=none"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def train(*words: str) -> tuple[Summary, SampleResults]:
        summary = nnrun.run([*WORDS, *words], quiet=True)
        return summary, read_samples(Path(summary.run))

    return train


def test_of_classes_the_confusion_and_the_loss_are_the_summarys(run) -> None:
    summary, samples = run("data.limit=300")
    confusion = np.zeros((10, 10), dtype=int)
    np.add.at(confusion, (samples.targets, samples.predicted), 1)
    assert confusion.tolist() == summary.details["test"]["confusion_matrix"]
    assert samples.losses.mean() == pytest.approx(summary.metrics["test/loss"], rel=1e-5)
    assert samples.are_right.mean() == pytest.approx(summary.metrics["test/accuracy"])
    assert (samples.kind, samples.names) == ("classes", tuple("0123456789"))
    assert samples.indices.tolist() == list(range(samples.num_samples))
    assert (samples.predictions.dtype, samples.columns, samples.paths) == (np.float16, None, None)
    of_target = samples.predictions[samples.indices, samples.targets].astype(float)
    assert -np.log(of_target) == pytest.approx(samples.losses, rel=0.02, abs=0.002)
    again = nnrun.run([f"ckpt={summary.run}"], quiet=True)
    assert again.run != summary.run
    for name, value in vars(read_samples(Path(again.run))).items():
        assert np.array_equal(value, getattr(samples, name)), name
    log = (Path(summary.run) / "run.log").read_text()
    true, predicted = np.unravel_index((confusion * (1 - np.eye(10, dtype=int))).argmax(), (10, 10))
    most = f"{true} -> {predicted} ({confusion[true, predicted]} of {confusion[true].sum()})"
    assert most in next(line for line in log.splitlines() if line.startswith("confused"))


def test_of_labels_and_of_values_they_are_the_summarys_too(run) -> None:
    summary, samples = run("data=arrays", f"data.root={DATA / 'labelled.npz'}")
    assert samples.losses.mean() == pytest.approx(summary.metrics["test/loss"], rel=1e-5)
    assert (samples.kind, samples.targets.dtype, samples.predictions.dtype) == ("labels", np.uint8, np.float16)
    assert samples.targets.shape == samples.predictions.shape == (samples.num_samples, len(samples.names))
    assert samples.predicted is None
    assert samples.predicted_labels is not None
    hits = (samples.predicted_labels & samples.targets).sum(0)
    marks = samples.predicted_labels.sum(0) + samples.targets.sum(0)
    f1 = [row["f1"] for row in summary.details["test"]["per_label"]]
    assert (2 * hits / np.maximum(marks, 1)).tolist() == pytest.approx(f1)
    assert samples.targets.sum(0).tolist() == [row["samples"] for row in summary.details["test"]["per_label"]]
    summary, samples = run("data=arrays", f"data.root={DATA / 'valued.npz'}")
    assert (samples.kind, samples.predictions.dtype) == ("values", np.float32)
    # The two values differ by a factor of 1e18: the larger one alone is seen in the mean.
    errors = np.abs(samples.predictions.astype(float) - samples.targets).mean()
    assert errors == pytest.approx(summary.metrics["test/mae"], rel=1e-5)


def test_of_a_folder_the_samples_have_their_paths_and_the_costliest_mistakes_are_named(run, tmp_path: Path) -> None:
    make_folder(tmp_path / "pictures", {"train": 8, "test": 6})
    summary, samples = run("data=folder", "data.root=pictures", "optimizer.lr=1e-9")  # typed from where the user is
    assert samples.paths is not None
    assert len(samples.paths) == samples.num_samples
    for path, target in zip(samples.paths, samples.targets, strict=True):
        assert samples.names[target] in path
    wrong = np.flatnonzero(~samples.are_right)
    worst = wrong[samples.losses[wrong].argsort()[::-1]][:3]
    assert len(worst), "untrained, it is wrong somewhere"
    lines = []
    for row in worst:
        path = Path(samples.paths[row]).relative_to(tmp_path / "pictures")
        is_, said = (samples.names[numbers[row]] for numbers in (samples.targets, samples.predicted))
        lines.append(f"{path} is {is_}, predicted {said}")
    log = (Path(summary.run) / "run.log").read_text().splitlines()
    at = next(number for number, line in enumerate(log) if line.startswith("costliest"))
    assert [line.removeprefix("costliest").strip() for line in log[at : at + len(lines)]] == lines


def test_of_many_classes_the_most_probable_and_for_want_of_room_the_costliest_are_kept(tmp_path: Path) -> None:
    problem = Classification(Targets.classes([str(number) for number in range(30)]))
    draws = torch.Generator().manual_seed(0)
    predictions = torch.randn(50, 30, generator=draws).softmax(1)
    split = Split(torch.zeros(50, 1), torch.randint(30, (50,), generator=draws), names=[f"{i}.png" for i in range(50)])
    losses = torch.rand(50, generator=draws)
    losses[7] = torch.nan
    whole = results_of(problem, split, predictions, losses)
    assert whole.columns is not None
    assert whole.predictions.shape == whole.columns.shape == (50, 10)
    assert np.array_equal(whole.columns[:, 0], predictions.argmax(1).numpy())
    assert np.array_equal(whole.predicted, predictions.argmax(1).numpy())
    part = results_of(problem, split, predictions, losses, most_bytes=20 * (17 + 60 + 8))
    assert part.num_samples == 50
    costly = losses.nan_to_num(nan=2).argsort(descending=True)[:20].sort().values
    assert part.indices.tolist() == costly.tolist()
    assert part.paths == tuple(f"{index}.png" for index in costly.tolist())
    assert costliest(problem, split, predictions, losses)[0].startswith("7.png is ")
    write_samples(part, tmp_path)
    for name, value in vars(read_samples(tmp_path)).items():
        assert np.array_equal(value, getattr(part, name), equal_nan=name == "losses"), name
    assert [path.name for path in tmp_path.iterdir()] == ["test_samples.npz"]


def test_a_file_that_is_missing_damaged_or_newer_is_said(run, tmp_path: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"test_samples.npz: there is none: the run was not evaluated on its test split$"
    ):
        read_samples(tmp_path)
    path = tmp_path / "test_samples.npz"
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ArtifactError, match=r"test_samples.npz cannot be read"):
        read_samples(tmp_path)
    np.savez(path, schema=1, names="[]", paths="null", kind="classes", num_samples=0, indices=np.array([{}]))
    with pytest.raises(ArtifactError, match=r"cannot be read: it contains Python objects"):
        read_samples(tmp_path)
    np.savez(path, schema=2)
    with pytest.raises(ArtifactError, match=r"written by a newer nnrun \(schema 2\)"):
        read_samples(tmp_path)


def _npy(shape: str) -> bytes:
    """Return a `.npy` file with four numbers that says of itself that it has some shape."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(16)


def _flipped(content: bytes) -> bytes:
    """Return an archive whose first compressed bytes are others."""
    at = content.index(b"losses.npy") + len(b"losses.npy") + 20
    return content[:at] + bytes(byte ^ 0xFF for byte in content[at : at + 8]) + content[at + 8 :]


@pytest.mark.parametrize(
    "losses", [_npy(f"({10**13},)"), _npy(f"({10**25},)"), _npy("[" * 100), b"no array", _npy("(2,)")]
)
def test_of_a_hostile_file_nothing_but_what_is_wrong_is_said(losses: bytes, tmp_path: Path) -> None:
    """Memory that is not there, numbers that are none, headers that are no Python, no array, another length."""
    rows = {name: np.zeros(4) for name in ("indices", "targets", "predictions", "are_right")}
    path = tmp_path / "test_samples.npz"
    np.savez_compressed(path, schema=1, kind="classes", num_samples=4, names="[]", paths="null", **rows)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("losses.npy", losses)
    with pytest.raises(ArtifactError, match=r"test_samples.npz cannot be read: ."):
        read_samples(tmp_path)


def test_a_damaged_array_is_said(tmp_path: Path) -> None:
    rows = {name: np.random.rand(40) for name in ("losses", "indices", "targets", "predictions", "are_right")}
    path = tmp_path / "test_samples.npz"
    np.savez_compressed(path, schema=1, kind="classes", num_samples=40, names="[]", paths="null", **rows)
    assert read_samples(tmp_path).num_samples == 40, "the negative control"
    path.write_bytes(_flipped(path.read_bytes()))
    with pytest.raises(ArtifactError, match=r"test_samples.npz cannot be read: ."):
        read_samples(tmp_path)


def test_pictures_of_the_costliest_mistakes_are_kept_as_they_are(run, tmp_path: Path) -> None:
    """Negative control: a table of numbers has none. A picture is never enlarged: the digits are 28x28."""
    _, samples = run("trainer.epochs=1")
    assert samples.indices.tolist() == list(range(samples.num_samples))
    rows = samples.costliest(24)
    assert [*samples.pictures] == rows
    assert not samples.are_right[rows].any()
    assert (np.diff(samples.losses[rows]) <= 0).all()
    test = Digits().load().test
    for index, content in samples.pictures.items():
        with Image.open(io.BytesIO(content)) as picture:
            assert np.array_equal(np.asarray(picture), test.inputs[index, 0].numpy())
    np.savez(
        tmp_path / "table.npz",
        train_x=np.random.rand(60, 1, 1, 5).astype(np.float32) * 9,
        train_y=np.arange(60) % 2,
        test_x=np.random.rand(20, 1, 1, 5).astype(np.float32) * 9,
        test_y=np.arange(20) % 2,
    )
    assert run("data=arrays", "data.root=table.npz")[1].pictures == {}


@pytest.mark.parametrize(
    ("inputs", "shown"),
    [
        (torch.full((3, 3, 200, 100), 7, dtype=torch.uint8), ("RGB", (48, 96), (7, 7, 7))),
        (torch.full((3, 1, 10, 400), 0.2), ("L", (192, 5), 51)),
        ({"a": torch.zeros(3, 5), "b": torch.full((3, 1, 4, 4), 9, dtype=torch.uint8)}, ("L", (4, 4), 9)),
        (torch.full((3, 1, 4, 4), 1.5), None),
        (torch.full((3, 1, 4, 4), torch.nan), None),
        (torch.full((3, 4, 4, 4), 9, dtype=torch.uint8), None),
        (torch.full((3, 1, 4, 4), 9, dtype=torch.int32), None),
        (Stored(lambda: torch.full((3, 1, 4, 4), 9, dtype=torch.uint8)), ("L", (4, 4), 9)),
    ],
)
def test_what_is_a_picture_and_how_large_it_becomes(inputs, shown) -> None:
    found = pictures_of(Split(inputs, torch.zeros(3)), [2, 0])
    if shown is None:
        assert found == {}
        return
    assert [*found] == [2, 0]
    picture = Image.open(io.BytesIO(found[2]))
    assert (picture.mode, picture.size, picture.getpixel((1, 1))) == shown
    least = len(found[2])
    assert [*pictures_of(Split(inputs, torch.zeros(3)), [2, 0], most_bytes=least)] == [2], "the total is bounded"


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 5, 5) + bytes(20)


@pytest.mark.parametrize(
    ("pictures", "changes"),
    [
        ({3: b"<svg onload=alert(1)>"}, {}),
        ({3: PNG[:16] + struct.pack(">II", 100_000, 5) + bytes(20)}, {}),
        ({3: PNG + bytes(2**20)}, {}),
        ({3: PNG[:18]}, {}),
        ({3: PNG}, {"picture_sizes": np.array([-1])}),
        ({3: PNG}, {"picture_sizes": np.array([len(PNG), 0])}),
        ({3: PNG}, {"picture_sizes": np.array([2**40])}),
        ({3: PNG}, {"picture_indices": np.array(["x"])}),
        (dict.fromkeys(range(1000), PNG), {}),
    ],
)
def test_only_small_png_files_are_taken_for_pictures(pictures, changes, tmp_path: Path) -> None:
    """A report shows them in a browser."""
    rows = {name: np.zeros(4) for name in ("indices", "targets", "predictions", "losses", "are_right")}
    samples = SampleResults("classes", ("a",), 4, **rows)
    write_samples(replace(samples, pictures={3: PNG}), tmp_path)
    assert read_samples(tmp_path).pictures == {3: PNG}, "the negative control"
    path = write_samples(replace(samples, pictures=pictures), tmp_path)
    with np.load(path) as arrays:
        np.savez(path, **(dict(arrays) | changes))
    with pytest.raises(ArtifactError, match=r"test_samples.npz cannot be read: ."):
        read_samples(tmp_path)


def test_a_file_without_pictures_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    rows = {name: np.zeros(4) for name in ("indices", "targets", "predictions", "losses", "are_right")}
    np.savez(tmp_path / "test_samples.npz", schema=1, kind="labels", num_samples=4, names="[]", paths="null", **rows)
    samples = read_samples(tmp_path)
    assert (samples.pictures, samples.texts, samples.predicted_labels) == ({}, {}, None)


@pytest.mark.parametrize("texts", ['[[3, "x"], 4]', "[[3, 4]]", json.dumps([[3, "x" * 601]]), '{"3": "x"}', "no JSON"])
def test_only_short_texts_are_taken_for_texts(texts: str, tmp_path: Path) -> None:
    rows = {name: np.zeros(4) for name in ("indices", "targets", "predictions", "losses", "are_right")}
    path = write_samples(SampleResults("classes", ("a",), 4, **rows, texts={3: "<b>\x1b"}), tmp_path)
    assert read_samples(tmp_path).texts == {3: "<b>\x1b"}, "the negative control"
    with np.load(path) as arrays:
        np.savez(path, **(dict(arrays) | {"texts": texts}))
    with pytest.raises(ArtifactError, match=r"test_samples.npz cannot be read: ."):
        read_samples(tmp_path)
