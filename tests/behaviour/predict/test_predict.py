"""`task=predict`: what is written for each image is what the network says of it, whatever the images lie in."""

from __future__ import annotations

import csv
import gzip
import io
import os
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import nnrun
from nnrun.components.data.digits import Digits
from nnrun.components.data.images import read_image
from support.command_line import Outcome, mnist_files, run_here, write_files
from support.small_runs import status, stop_at, summary, train, tree

ODD_NAMES = ("a,b.png", 'the "q".png', "two\nlines.png", "é ü.png", "k=v [1].png", "* ?.png", " .png")


@pytest.fixture(scope="session")
def pixels() -> Tensor:
    """The test images of the digits, uint8 `(360, 1, 28, 28)`."""
    return Digits().load().test.inputs


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory, pixels: Tensor) -> Path:
    """The same as PNG files, in the same order."""
    folder = tmp_path_factory.mktemp("predict") / "shots"
    folder.mkdir()
    for index, image in enumerate(pixels):
        save(folder / f"{index:03}.png", image)
    return folder


@pytest.fixture(scope="session")
def onnx_files(tmp_path_factory: pytest.TempPathFactory, whole: Path) -> Path:
    """A folder with artifacts of the run, each made with other settings."""
    folder = tmp_path_factory.mktemp("onnx")
    for name, words in {"raw": [], "bare": ["preprocess=false"], "probable": ["output=probabilities"]}.items():
        settings = [f"export.onnx.{word}" for word in words]
        outcome = run_here(["export=onnx", *settings, f"ckpt={whole}", f"hydra.run.dir={folder / name}"], folder)
        assert outcome.code == 0, outcome.err
        shutil.copy(folder / name / "exports" / "onnx" / "model.onnx", folder / f"{name}.onnx")
    return folder


def save(path: Path, image: Tensor) -> Path:
    Image.fromarray(image[0].numpy()).save(path)
    return path


def predict(folder: Path, *words: str, run: str = "p") -> Outcome:
    return run_here(["task=predict", *words, f"hydra.run.dir={folder / run}"], folder)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "predictions.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def classes(folder: Path, *words: str, run: str = "p") -> list[str]:
    """What is predicted for each image, in the order of the file."""
    outcome = predict(folder, *words, run=run)
    assert (outcome.code, outcome.err) == (0, "")
    return [row["class"] for row in rows(folder / run)]


def answers(run: Path, pixels: Tensor) -> Tensor:
    """What the network itself says, as probabilities."""
    network = nnrun.load(run)
    with torch.inference_mode():
        return network(network.preprocessing(pixels)).softmax(1)


def test_every_image_is_what_the_network_says(whole: Path, shots: Path, pixels: Tensor, tmp_path: Path) -> None:
    before = tree(whole)
    outcome = predict(tmp_path, f"ckpt={whole}", f"input={shots}", "data.eval_batch_size=50")
    assert (outcome.code, outcome.err) == (0, "")
    probabilities = answers(whole, pixels)
    wanted = [str(number) for number in probabilities.argmax(1).tolist()]
    predicted = rows(tmp_path / "p")
    assert list(predicted[0]) == ["path", "class", "probability"]
    assert [row["path"] for row in predicted] == [str(shots / f"{index:03}.png") for index in range(360)]
    assert [row["class"] for row in predicted] == wanted
    assert [float(row["probability"]) for row in predicted] == pytest.approx(probabilities.amax(1).tolist(), rel=1e-3)
    reached = summary(tmp_path / "p")
    assert (reached["task"], reached["state"], reached["metrics"]) == ("predict", "finished", {})
    assert (reached["predicted"], reached["skipped"]) == (360, 0)
    assert reached["samples_per_second"] > 0
    assert (status(tmp_path / "p")["state"], status(tmp_path / "p")["exit_code"]) == ("finished", 0)
    assert tree(whole) == before, "the run that is read is left as it was"
    assert not (tmp_path / "outputs").exists(), "outputs/latest is for runs that train"
    # The negative control: the same comparison tells one image from another.
    turned = [str(number) for number in answers(whole, pixels.flip(0)).argmax(1).tolist()]
    assert [row["class"] for row in predicted] != turned


def test_the_most_probable_classes_have_columns(whole: Path, shots: Path, pixels: Tensor, tmp_path: Path) -> None:
    for wanted, ranks in ((3, 3), (20, 10)):
        run = f"top{wanted}"
        outcome = predict(tmp_path, f"ckpt={whole}", f"input={shots}/00?.png", f"predict.top_k={wanted}", run=run)
        assert outcome.code == 0
        assert ("there are only 10 classes: all are listed" in outcome.out) == (wanted > 10)
        probabilities = answers(whole, pixels[:10])
        for row, own in zip(rows(tmp_path / run), probabilities, strict=True):
            best = own.argsort(descending=True)[:ranks].tolist()
            columns = [name for rank in range(1, ranks + 1) for name in (f"class_{rank}", f"probability_{rank}")]
            assert list(row) == ["path", "class", "probability", *columns]
            assert [row[f"class_{rank}"] for rank in range(1, ranks + 1)] == [str(number) for number in best]
            assert row["class"] == row["class_1"]
            assert float(row[f"probability_{ranks}"]) == pytest.approx(own[best[-1]].item(), rel=1e-3)


def test_the_kaggle_format_is_exact_to_the_byte(whole: Path, shots: Path, pixels: Tensor, tmp_path: Path) -> None:
    first = answers(whole, pixels[:3]).argmax(1).tolist()
    forms = {
        "number": (["predict.format=kaggle"], "ImageId,Label\n", ("1", "2", "3")),
        "stem": (
            ["predict.format=kaggle", "predict.id=stem", "predict.id_column=id", "predict.label_column='a,b'"],
            'id,"a,b"\n',
            ("000", "001", "002"),
        ),
        "name": (["predict.format=kaggle", "predict.id=name"], "ImageId,Label\n", ("000.png", "001.png", "002.png")),
    }
    for run, (words, titles, ids) in forms.items():
        outcome = predict(tmp_path, f"ckpt={whole}", f"input={shots}/00[012].png", *words, run=run)
        assert (outcome.code, outcome.err) == (0, "")
        wanted = titles + "".join(f"{name},{number}\n" for name, number in zip(ids, first, strict=True))
        assert (tmp_path / run / "predictions.csv").read_bytes() == wanted.encode()


def test_files_called_by_numbers_are_taken_in_the_order_of_the_numbers(
    whole: Path, pixels: Tensor, tmp_path: Path
) -> None:
    """Sorted as texts, 10.png comes before 2.png, and Kaggle's ids would be those of other pictures."""
    for folder, names in (("shots", range(1, 13)), ("from 0", range(12)), ("more", ("a 10", "a 9", "a 1"))):
        (tmp_path / folder).mkdir()
        for name in names:
            save(tmp_path / folder / f"{name}.png", pixels[0])
    words = (f"ckpt={whole}", "predict.format=kaggle", "data.eval_batch_size=3")
    outcome = predict(tmp_path, *words, f"input={tmp_path}/shots", "predict.id=stem", run="stems")
    stems = [line.split(",")[0] for line in (tmp_path / "stems" / "predictions.csv").read_text().splitlines()[1:]]
    assert stems == [str(number) for number in range(1, 13)], outcome
    outcome = predict(tmp_path, *words, f"input={tmp_path}/shots/*.png", run="numbers")
    assert "predict.id" not in outcome.out, "the negative control: here the numbers are the names"
    for name, first in (("from 0", "0.png"), ("more", "a 1.png")):
        outcome = predict(tmp_path, *words, f"input={tmp_path}/{name}", run=f"of {name}")
        assert outcome.code == 0
        assert f"{first} gets the id 1; use predict.id=stem to take the file names as ids" in outcome.out
    predict(tmp_path, f"ckpt={whole}", f"input={tmp_path}/more", run="plain")
    assert [Path(row["path"]).stem for row in rows(tmp_path / "plain")] == ["a 1", "a 9", "a 10"]


@pytest.mark.parametrize("name", ["raw", "bare", "probable"])
def test_an_exported_network_says_the_same(
    name: str, whole: Path, onnx_files: Path, shots: Path, tmp_path: Path
) -> None:
    """Also where it takes normalized input, and where it gives probabilities: these are not made of once more."""
    outcome = predict(tmp_path, f"ckpt={onnx_files}/{name}.onnx", f"input={shots}", "model=cnn")
    assert (outcome.code, outcome.err) == (0, "")
    assert "note: model has no effect with task=predict" in outcome.out
    assert classes(tmp_path, f"ckpt={whole}", f"input={shots}", run="eager") == [
        row["class"] for row in rows(tmp_path / "p")
    ]
    pairs = zip(rows(tmp_path / "p"), rows(tmp_path / "eager"), strict=True)
    assert all(
        float(ours["probability"]) == pytest.approx(float(theirs["probability"]), abs=1e-4) for ours, theirs in pairs
    )


def test_exported_weights_say_the_same(whole: Path, shots: Path, tmp_path: Path) -> None:
    """What else is needed stands beside them; without it they are weights alone."""
    outcome = run_here(["export=safetensors", f"ckpt={whole}", f"hydra.run.dir={tmp_path}/x"], tmp_path)
    assert outcome.code == 0, outcome.err
    weights = next((tmp_path / "x").rglob("*.safetensors"))
    predicted = classes(tmp_path, f"ckpt={weights}", f"input={shots}")
    assert predicted == classes(tmp_path, f"ckpt={whole}", f"input={shots}", run="eager")
    weights.with_name("model.json").unlink()
    assert "contains only weights" in predict(tmp_path, f"ckpt={weights}", f"input={shots}", run="alone").err


def test_images_in_one_file_are_the_same_images(whole: Path, shots: Path, pixels: Tensor, tmp_path: Path) -> None:
    images = pixels[:, 0].numpy()
    idx = struct.pack(">IIII", 0x0803, *images.shape) + images.tobytes()
    (tmp_path / "images-ubyte").write_bytes(idx)
    (tmp_path / "images-ubyte.gz").write_bytes(gzip.compress(idx))
    np.save(tmp_path / "grey.npy", images)
    np.save(tmp_path / "planes.npy", images[:, None])
    np.save(tmp_path / "channels last.npy", images[..., None])
    titles = ",".join(f"pixel{index}" for index in range(784))
    lines = [",".join(map(str, image.ravel())) for image in images]
    (tmp_path / "test.csv").write_text("\n".join(["\ufeff" + titles, *lines, ""]), encoding="utf-8")
    wanted = classes(tmp_path, f"ckpt={whole}", f"input={shots}")
    for name in ("images-ubyte", "images-ubyte.gz", "grey.npy", "planes.npy", "channels last.npy", "test.csv"):
        path = tmp_path / name
        assert (
            classes(tmp_path, f"ckpt={whole}", f"input={path}", "data.eval_batch_size=97", run=f"of {name}") == wanted
        )
        assert [row["path"] for row in rows(tmp_path / f"of {name}")][::359] == [f"{path}#1", f"{path}#360"]
    # The negative control: other pixels.
    np.save(tmp_path / "dark.npy", images // 2)
    assert classes(tmp_path, f"ckpt={whole}", f"input={tmp_path}/dark.npy", run="dark") != wanted


def test_images_of_other_sizes_and_colours_are_brought_to_what_the_network_learned(whole: Path, tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(3)
    colours = torch.randint(0, 256, (60, 90, 3), generator=draw, dtype=torch.uint8)
    path = tmp_path / "large.png"
    Image.fromarray(colours.numpy()).save(path)
    image = read_image(path, 1, (28, 28))
    wanted = str(int(answers(whole, image[None]).argmax(1)))
    assert classes(tmp_path, f"ckpt={whole}", f"input={path}") == [wanted]


def test_names_of_every_kind_come_through(whole: Path, pixels: Tensor, tmp_path: Path) -> None:
    folder = tmp_path / "scans [a] é"
    (folder / "below").mkdir(parents=True)
    names = [*ODD_NAMES, "below/z.png", os.fsdecode(b"no utf-8 \xff.png")]
    for index, name in enumerate(names):
        save(folder / name, pixels[index])
    wanted = dict(zip(names, answers(whole, pixels[: len(names)]).argmax(1).tolist(), strict=True))
    assert len(set(wanted.values())) > 1
    outcome = predict(tmp_path, f"ckpt={whole}", f"input={folder}")
    assert (outcome.code, outcome.err) == (0, "")
    found = {os.path.relpath(row["path"], folder): int(row["class"]) for row in rows(tmp_path / "p")}
    assert found == wanted
    assert [row["path"] for row in rows(tmp_path / "p")] == sorted(str(folder / name) for name in names)
    # A name that exists means itself; otherwise it is a pattern.
    for name, matched in {"k=v [1].png": 1, "* ?.png": 1, "*.png": 8, "[k]*.png": 1, "**/*.png": 9}.items():
        run = f"run-{len(name)}{ord(name[-5])}{name[0].isalpha()}{matched}"
        assert len(classes(tmp_path, f"ckpt={whole}", f"input={folder}/{name}", run=run)) == matched, name


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
def test_standard_input_lists_paths_in_its_own_order(
    end: str, whole: Path, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [str(shots / name) for name in ("007.png", "003.png", "007.png")]
    content = end.join([*listed, ""]).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    classes(tmp_path, f"ckpt={whole}", "input=-")
    assert [row["path"] for row in rows(tmp_path / "p")] == listed


def test_bad_files_end_the_prediction_or_are_left_out(whole: Path, pixels: Tensor, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for index in range(4):
        save(folder / f"{index}.png", pixels[index])
    (folder / "1.png").write_bytes(b"<html>")
    (folder / "2.png").write_bytes((folder / "3.png").read_bytes()[:90])
    (folder / "notes.txt").write_text("no image")
    outcome = predict(tmp_path, f"ckpt={whole}", f"input={folder}", run="strict")
    assert outcome.code == 3
    assert f"{folder}/1.png is not an image: it contains HTML" in outcome.err
    assert "no predictions.csv is written; use data.on_bad=skip" in outcome.err
    assert "skipped 1 file without an image suffix" in outcome.out
    left = {path.name for path in (tmp_path / "strict").iterdir()}
    assert not [name for name in left if name.startswith("predictions") or name.endswith(".tmp")]
    assert status(tmp_path / "strict")["state"] == "failed"

    words = (f"ckpt={whole}", f"input={folder}", "data.on_bad=skip", "predict.format=kaggle")
    outcome = predict(tmp_path, *words, run="lenient")
    assert (outcome.code, outcome.err) == (0, "")
    ids = [line.split(",")[0] for line in (tmp_path / "lenient" / "predictions.csv").read_text().splitlines()[1:]]
    assert ids == ["1", "4"], "an image keeps its number"
    log = (tmp_path / "lenient" / "run.log").read_text()
    assert all(f"skipped: {folder}/{name}.png" in log for name in (1, 2))
    assert (summary(tmp_path / "lenient")["predicted"], summary(tmp_path / "lenient")["skipped"]) == (2, 2)

    outcome = predict(tmp_path, f"ckpt={whole}", f"input={folder}/[12].png", "data.on_bad=skip", run="none")
    assert outcome.code == 3
    assert "none of 2 files can be read" in outcome.err


def test_a_signal_leaves_no_half_of_a_file(whole: Path, shots: Path, tmp_path: Path) -> None:
    words = (f"ckpt={whole}", f"input={shots}", "data.eval_batch_size=50")
    with stop_at(4):
        outcome = predict(tmp_path, *words)
    assert outcome.code == 143
    assert "stopped" in outcome.err
    assert not [path for path in (tmp_path / "p").iterdir() if "predictions" in path.name or path.suffix == ".tmp"]
    assert status(tmp_path / "p")["state"] == "interrupted"
    # The negative control: there are 8 batches, and no 9th poll.
    with stop_at(9):
        assert predict(tmp_path, *words, run="whole").code == 0


def test_a_prediction_needs_no_data(tmp_path: Path) -> None:
    """Neither its files, nor the classes of the data set, the loss and the optimizer."""
    write_files(tmp_path, mnist_files("data"))
    run = tmp_path / "run"
    words = ("data=mnist", "data.limit=null", "data.batch_size=8", "data.download=false", f"data.root={tmp_path}/data")
    assert train(run, *words) == 0
    image = save(tmp_path / "a.png", torch.arange(784, dtype=torch.uint8).view(1, 28, 28))
    before = classes(tmp_path, f"ckpt={run}", f"input={image}", run="before")
    shutil.rmtree(tmp_path / "data")
    assert classes(tmp_path, f"ckpt={run}", f"input={image}", run="after") == before
    # The negative control: an evaluation does open it.
    assert run_here([f"ckpt={run}"], tmp_path).code == 3


def test_a_checkpoint_that_claims_huge_images_is_refused_before_one_is_made(
    whole: Path, shots: Path, tmp_path: Path
) -> None:
    payload = torch.load(next((whole / "checkpoints").glob("*.ckpt")), weights_only=True)
    payload["config"]["data"]["in_shape"] = [1, 10**6, 10**6]
    torch.save(payload, tmp_path / "stranger.ckpt")
    outcome = predict(tmp_path, "ckpt=stranger.ckpt", f"input={shots}")
    assert (outcome.code, "claims to take images of 1,000,000 x 1,000,000, but a maximum of" in outcome.err) == (
        4,
        True,
    )


# The words, the exit code and what is said.
WRONG: tuple[tuple[list[str], int, str], ...] = (
    (["ckpt=RUN"], 2, "task=predict needs input="),
    (["input=SHOTS"], 2, "task=predict needs ckpt="),
    (["ckpt=RUN", "input=SHOTS", "resume=RUN"], 2, "ckpt and resume exclude each other"),
    (["input=SHOTS", "resume=RUN"], 2, "task=predict and resume exclude each other"),
    (["input=SHOTS", "init_from=RUN"], 2, "task=predict and init_from exclude each other"),
    (["ckpt=RUN", "input=SHOTS", "export=onnx"], 2, "export has no effect with task=predict"),
    (["ckpt=RUN", "input=SHOTS", "predict.topk=3"], 2, "did you mean 'predict.top_k'?"),
    (["ckpt=RUN", "input=SHOTS", "predict.top_k=0"], 2, "predict.top_k is 0; allowed: a whole number from 1"),
    (["ckpt=RUN", "input=SHOTS", "predict.format=xml"], 2, "predict.format is 'xml'; allowed: csv, kaggle"),
    (["ckpt=RUN", "input=SHOTS", "predict.id=stem"], 2, "predict.id has an effect only with predict.format=kaggle"),
    (["ckpt=RUN", "input=SHOTS", "predict.format=kaggle", "predict.top_k=2"], 2, "only with predict.format=csv"),
    (
        ["ckpt=RUN", "input=SHOTS", "predict.format=kaggle", "predict.id_column=Label"],
        2,
        "predict.id_column and predict.label_column are both Label",
    ),
    (["ckpt=RUN", "input=nosuch"], 3, "input=nosuch: No such file or directory, and as a pattern it matches"),
    (["ckpt=RUN", f"input={'x' * 5000}/y"], 3, "File name too long, and as a pattern it matches nothing"),
    (["ckpt=RUN", "input=empty"], 3, "input=empty holds no image; it is empty"),
    (["ckpt=RUN", "input=texts"], 3, "input=texts holds no image: skipped 1 file without an image suffix"),
    (["ckpt=RUN", "input=texts/*.txt"], 3, "holds no image"),
    (["ckpt=RUN", "input=texts/a.txt"], 3, "texts/a.txt is not an image"),
    (["ckpt=RUN", "input=twice", "predict.format=kaggle", "predict.id=stem"], 3, "would have the same id"),
    (["ckpt=RUN", "input=twice", "predict.format=kaggle", "predict.id=name"], 3, "would have the same id"),
    (["ckpt=RUN", "input=short.npy"], 3, "short.npy holds images (1, 8, 8); the network takes (1, 28, 28)"),
    (["ckpt=RUN", "input=floats.npy"], 3, "floats.npy holds float64; pixels are uint8"),
    (["ckpt=RUN", "input=objects.npy"], 3, "objects.npy cannot be read"),
    (["ckpt=RUN", "input=table.csv"], 3, "table.csv has 2 columns, the first named 'label'"),
    (["ckpt=nosuch", "input=SHOTS"], 4, "nosuch does not exist"),
    (["ckpt=weights.pt", "input=SHOTS"], 2, "weights.pt contains only weights, but a prediction also needs the class"),
)


@pytest.mark.parametrize("row", WRONG, ids=lambda row: f"{row[1]} {row[2][:30]}")
def test_what_cannot_be_predicted_is_said(
    row: tuple[list[str], int, str], whole: Path, shots: Path, tmp_path: Path
) -> None:
    words, code, says = row
    write_files(tmp_path, {"texts/a.txt": "text", "table.csv": "label,pixel0\n1,2\n", "empty/.hidden/a.png": ""})
    shutil.rmtree(tmp_path / "empty" / ".hidden")
    for folder in ("one", "two"):
        (tmp_path / "twice" / folder).mkdir(parents=True)
        shutil.copy(shots / "000.png", tmp_path / "twice" / folder)
    np.save(tmp_path / "short.npy", np.zeros((2, 8, 8), np.uint8))
    np.save(tmp_path / "floats.npy", np.zeros((2, 28, 28)))
    np.save(tmp_path / "objects.npy", np.array([Path], dtype=object), allow_pickle=True)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pt")
    outcome = predict(tmp_path, *(word.replace("RUN", str(whole)).replace("SHOTS", str(shots)) for word in words))
    assert says in outcome.err
    assert outcome.code == code
    assert not list(tmp_path.rglob("predictions.csv"))


def test_settings_of_a_prediction_mean_nothing_elsewhere(whole: Path, shots: Path, tmp_path: Path) -> None:
    for words, says in (
        (["input=a.png"], "input=a.png has no effect without task=predict"),
        (["predict.top_k=2"], "predict.top_k has no effect without task=predict"),
        ([f"ckpt={whole}", "predict.format=kaggle"], "predict.format has no effect without task=predict"),
        (["-m", "task=predict", f"ckpt={whole}", "input=-", "predict.top_k=1,2"], "input=- can be read once"),
    ):
        outcome = run_here(words, tmp_path)
        assert (outcome.code, says in outcome.err) == (2, True), outcome.err
    # And what a prediction does not read is said to have no effect.
    outcome = predict(tmp_path, f"ckpt={whole}", f"input={shots}", "optimizer.lr=1", "data=mnist", "trainer.device=cpu")
    notes = [line for line in outcome.out.splitlines() if line.startswith("note: ")]
    assert notes == [f"note: {key} has no effect with task=predict" for key in ("optimizer.lr", "data")]
