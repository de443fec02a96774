"""Images in the columns of Parquet and of Hugging Face's data sets on disk: the same as files in class folders."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from PIL import Image

from nnrun import predictor
from nnrun.assembly.data.opened import Opened, open_data
from nnrun.base.errors import DataError
from nnrun.cli import compose
from nnrun.config.schema import RunSettings, from_mapping
from support.command_line import run_here
from support.saved_sets import save, save_splits, write_parquet
from support.small_runs import summary

pytestmark = pytest.mark.usefixtures("warm_python")

NAMES = ["bright", "dark"]
FEATURES = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}
SHORT = ("model=mlp", "trainer.epochs=2", "data.batch_size=8", "trainer.progress=false", "report=none", "export=none")
TYPE = pl.Struct({"bytes": pl.Binary, "path": pl.String})


def picture(number: int, label: int, mode: str = "L") -> bytes:
    """A PNG of 8x8, bright or dark, unlike any other."""
    pixels = torch.randint(0, 100, (8, 8), generator=torch.Generator().manual_seed(number)) + (0 if label else 155)
    file = io.BytesIO()
    Image.fromarray(pixels.byte().numpy()).convert(mode).save(file, "PNG")
    return file.getvalue()


def frame(number: int, start: int = 0) -> pl.DataFrame:
    """Images with classes, of which row n is of class n modulo 2; and a number, labels and a patient for each."""
    cells = [{"bytes": picture(start + row, row % 2), "path": f"{row}.png"} for row in range(number)]
    return pl.DataFrame(
        {
            "image": pl.Series(cells, dtype=TYPE),
            "label": [row % 2 for row in range(number)],
            "weight": [row / 4 for row in range(number)],
            "tags": [["round"] * (row % 2) + ["old"] * (row % 3 == 0) for row in range(number)],
            "patient": [f"p{row // 4}" for row in range(number)],
        }
    )


def with_cells(of: pl.DataFrame, **columns: Any) -> pl.DataFrame:
    """The same rows with other values in some columns."""
    kinds = {"image": TYPE}
    return of.with_columns(pl.Series(name, values, dtype=kinds.get(name)) for name, values in columns.items())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("columns")
    save(place / "one", frame(60), FEATURES, num_files=2)
    splits = {"train": frame(40), "validation": frame(12, 100), "test": frame(16, 200), "more": frame(4, 300)}
    save_splits(place / "splits", splits, FEATURES)
    write_parquet(place / "p.parquet", frame(60), FEATURES)
    frame(60).select(pl.col("image").struct.field("bytes").alias("photo"), "label").write_ipc(place / "f.feather")
    for name, number, start in (("train-00000-of-00002", 24, 0), ("train-00001-of-00002", 16, 24), ("test", 16, 200)):
        write_parquet(place / "repo" / "plain" / f"{name}.parquet", frame(number, start), FEATURES)
    (place / "repo" / "README.md").write_text("a card")
    for part in ("train", "test"):
        write_parquet(place / "converted" / part / "0000.parquet", frame(40, 500 * (part == "test")), FEATURES)
    for row in range(60):
        file = place / "files" / NAMES[row % 2] / f"{row:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(row, row % 2))
    return place


@pytest.fixture(scope="module")
def trained(place: Path) -> str:
    """A run on the set with splits, `run`; what it said."""
    done = run_here(["data=folder", "data.root=splits", *SHORT, "hydra.run.dir=run"], place)
    assert (done.code, done.err) == (0, ""), done.out
    return " ".join(done.out.split())


def opened(place: Path, *words: str) -> Opened:
    composed = compose([word.replace("AT", str(place)) for word in ("data=folder", *words)])
    return open_data(from_mapping(RunSettings, composed.resolved()).data, checks_batch=False)


def of(data: Opened) -> dict[str, list[Any]]:
    """The samples of each split with their targets, in any order."""
    found = {}
    for name, split in data.parts.items():
        digests, targets = split.digested().tolist(), split.targets.tolist()
        found[name] = sorted(zip(digests, targets, strict=True))
    return found


# Training, validation and test samples; None for parts that are drawn.
FORMS = {
    "one": (None, None, None),
    "splits": (40, 12, 16),
    "splits/train": (None, None, None),
    "p.parquet": (None, None, None),
    "f.feather": (None, None, None),
    "repo": (None, None, 16),
    "converted": (None, None, 40),
}


@pytest.mark.parametrize("root", FORMS)
def test_each_form_has_its_splits_and_classes(place: Path, root: str) -> None:
    data = opened(place, f"data.root=AT/{root}")
    assert data.in_shape == (1, 8, 8)
    # Without the names that a file gives, classes are the numbers: the negative control.
    assert data.targets.names == (("0", "1") if root == "f.feather" else ("bright", "dark"))
    sizes = [len(split) for split in data.parts.values()]
    assert all(size in (None, found) for size, found in zip(FORMS[root], sizes, strict=True)), sizes
    assert any("classes from label" in note for note in data.findings.notes)
    assert any("left out the splits more" in note for note in data.findings.notes) == (root == "splits")


def test_images_in_rows_are_split_as_the_same_images_in_folders(place: Path) -> None:
    """The split goes by the content of the images, wherever they are."""
    in_folders = opened(place, "data.root=AT/files")
    for root in ("one", "p.parquet"):
        in_rows = opened(place, f"data.root=AT/{root}")
        assert of(in_rows) == of(in_folders)
        assert in_rows.in_shape == in_folders.in_shape


@pytest.mark.parametrize(
    ("words", "kind", "names"),
    [
        (["data.target=weight"], "values", ("weight",)),
        (["data.target=tags"], "labels", ("old", "round")),
        (["data.target=[weight,label]", "data.targets=values"], "values", ("weight", "label")),
        (["data.target=patient", "data.targets=classes", "data.dataset.test_fraction=0.5"], "classes", None),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_other_targets_are_learned_of_their_columns(
    place: Path, words: list[str], kind: str, names: tuple[str, ...] | None
) -> None:
    root = "f.feather" if "[weight" in words[0] else "p.parquet"
    if root == "f.feather":
        frame(60).with_columns(pl.col("label").cast(pl.Float64)).write_parquet(place / "v.parquet")
        root = "v.parquet"
    data = opened(place, f"data.root=AT/{root}", *words)
    assert data.targets.kind == kind
    assert names is None or data.targets.names == names


def test_no_group_is_in_two_parts(place: Path) -> None:
    data = opened(place, "data.root=AT/p.parquet", "data.group=patient")
    groups = [set(split.keys.groups.tolist()) for split in data.parts.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 15


def test_a_set_is_learned_resumed_evaluated_and_predicted(place: Path, trained: str) -> None:
    assert "images from the column image, classes from label; not read: weight, tags, patient" in trained
    assert summary(place / "run")["metrics"]["test/accuracy"] > 0.9
    stopped = run_here(["data=folder", "data.root=splits", *SHORT, "trainer.epochs=1", "hydra.run.dir=half"], place)
    resumed = run_here(["resume=half", "trainer.epochs=2", "data.residency=stream"], place)
    assert (stopped.code, resumed.code) == (0, 0), resumed.err
    weights = [
        torch.load(next((place / name / "checkpoints").glob("step-*10-*.ckpt")), weights_only=True)["model"]
        for name in ("run", "half")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    again = run_here(["ckpt=run", "hydra.run.dir=again"], place)
    assert (again.code, again.err) == (0, "")
    assert summary(place / "again")["metrics"]["test/loss"] == summary(place / "run")["metrics"]["test/loss"]
    found = {}
    for name, given in (("rows", "splits/test"), ("parquet", "p.parquet"), ("files", "files")):
        done = run_here(["task=predict", "ckpt=run", f"input={given}", f"hydra.run.dir=of_{name}"], place)
        assert (done.code, done.err) == (0, ""), done.out
        with (place / f"of_{name}" / "predictions.csv").open(newline="") as file:
            found[name] = list(csv.DictReader(file))
    assert [row["row"] for row in found["rows"]] == [str(number) for number in range(1, 17)]
    by_file = {Path(row["path"]).stem: (row["class"], row["probability"]) for row in found["files"]}
    by_row = {f"{int(row['row']) - 1:02}": (row["class"], row["probability"]) for row in found["parquet"]}
    assert by_row == by_file
    assert [answer["class"] for answer in predictor(place / "run")(place / "p.parquet")] == [
        row["class"] for row in found["parquet"]
    ]


def test_images_beside_the_rows_are_read_where_they_are_below_the_root(place: Path, tmp_path: Path) -> None:
    files = [f"files/{NAMES[row % 2]}/{row:02}.png" for row in range(60)]
    cells = [{"bytes": None, "path": name} for name in files]
    (tmp_path / "files").symlink_to(place / "files")
    of_paths = with_cells(frame(60), image=cells)
    write_parquet(place / "paths.parquet", of_paths, FEATURES)
    assert of(opened(place, "data.root=AT/paths.parquet")) == of(opened(place, "data.root=AT/p.parquet"))
    # The link leads outside: the negative control.
    write_parquet(tmp_path / "paths.parquet", of_paths, FEATURES)
    done = run_here(["data=folder", "data.root=paths.parquet", *SHORT], tmp_path)
    assert done.code == 3
    assert "row 1 has only the path files/bright/00.png, which is not a file below" in " ".join(done.err.split())


def test_rows_whose_paths_lead_nowhere_are_skipped_when_asked(place: Path, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for row in range(2, 40):
        (tmp_path / "files" / f"{row}.png").write_bytes(picture(row, row % 2))
    cells = [{"bytes": None, "path": f"files/{row}.png" if row else None} for row in range(40)]
    write_parquet(tmp_path / "paths.parquet", with_cells(frame(40), image=cells), FEATURES)
    data = opened(tmp_path, "data.root=AT/paths.parquet", "data.on_bad=skip")
    assert sum(len(split) for split in data.parts.values()) == 38
    details = "\n".join(data.findings.details)
    assert "paths.parquet, row 1 has no image: image is empty" in details
    assert "paths.parquet, row 2 has only the path files/1.png, which is not a file below" in details
    # Without the setting it is an error: the negative control.
    with pytest.raises(DataError, match="row 1 has no image") as error:
        opened(tmp_path, "data.root=AT/paths.parquet")
    assert "2 of 40 samples cannot be read; skip them with data.on_bad=skip" in str(error.value)
    # As soon as a file is there, it is read, although the images are in the cache.
    (tmp_path / "files" / "1.png").write_bytes(picture(1, 1))
    data = opened(tmp_path, "data.root=AT/paths.parquet", "data.on_bad=skip")
    assert sum(len(split) for split in data.parts.values()) == 39


LACKING = [{"bytes": None, "path": None}, None]


@pytest.mark.parametrize(
    ("change", "words", "says"),
    [
        ({"image": LACKING[:1]}, [], "p.parquet, row 1 has no image: image is empty"),
        ({"image": LACKING[1:]}, [], "p.parquet, row 1 has no image: image is empty"),
        ({"image": [{"bytes": None, "path": "/etc/x.png"}]}, [], "row 1 has only a path in image, /etc/x.png"),
        ({"image": [{"bytes": b"", "path": None}]}, [], "p.parquet, row 1 is empty: it has 0 bytes"),
        ({"image": [{"bytes": b"<html>", "path": None}]}, [], "row 1 is not an image: it contains HTML"),
        ({"image": [{"bytes": picture(0, 0)[:80], "path": None}]}, [], "row 1 is damaged or truncated"),
        ({"label": [-1]}, [], "p.parquet, row 1: label is empty; each sample needs a class"),
        ({"label": [7]}, [], "p.parquet: label has the class 7, but 2 names"),
        ({}, ["data.image=label"], "the cells of label are not the content of image files; those of image are"),
        ({}, ["data.image=photo"], "data.image=photo is not a column of"),
        ({}, ["data.target=lable"], "data.target=lable is not a column of"),
        ({}, ["data.group=doctor"], "data.group=doctor is not a column of"),
        ({"second": [picture(1, 1)]}, [], "has the columns of images image, second; name one with data.image="),
        ({"image": None}, [], "has no column of images; its columns are label"),
        ({"label": None}, [], "has weight, tags, patient besides the images, image; name what to learn"),
    ],
)
def test_what_does_not_fit_names_the_file_the_row_and_the_way_out(
    tmp_path: Path, change: dict[str, Any], words: list[str], says: str
) -> None:
    rows, features = frame(12), dict(FEATURES)
    for name, values in change.items():
        if values is None:
            rows = rows.drop(name)
        elif name == "second":
            rows = rows.with_columns(second=pl.Series(values * 12, dtype=pl.Binary))
        else:
            rows = with_cells(rows, **{name: [*values, *rows[name].to_list()[len(values) :]]})
    write_parquet(tmp_path / "p.parquet", rows, features)
    done = run_here(["data=folder", "data.root=p.parquet", *words, *SHORT], tmp_path)
    assert done.code == 3, done.err
    assert says in " ".join(done.err.split()), done.err


def test_what_is_skipped_and_left_out_is_said(tmp_path: Path) -> None:
    cells = [{"bytes": b"no", "path": None}, None]
    rows = frame(40)
    rows = with_cells(rows, image=[*cells, *rows["image"].to_list()[2:]], label=[0, 1, -1, 1] + [0, 1] * 18)
    write_parquet(tmp_path / "train.parquet", rows, FEATURES)
    write_parquet(tmp_path / "test.parquet", with_cells(frame(6, 90), label=[-1] * 6), FEATURES)
    data = opened(tmp_path, "data.root=AT", "data.on_bad=skip")
    assert sum(len(split) for split in data.parts.values()) == 37
    assert {split.names[0].partition("#")[0] for split in data.parts.values()} == {"train.parquet"}
    for note in (
        "left out the split test: none of its 6 rows has a value of label; predict them with input=FILE ckpt=RUN",
        "skipped: 1 row without a target (data.on_bad=skip); run.log names them",
        "skipped: 2 samples that cannot be read (data.on_bad=skip); run.log names them",
    ):
        assert note in data.findings.notes
    assert any("train.parquet, row 3 has no target" in detail for detail in data.findings.details)


def test_the_same_image_in_train_and_test_is_said(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", frame(20), FEATURES)
    write_parquet(tmp_path / "test.parquet", frame(4), FEATURES)
    data = opened(tmp_path, "data.root=AT")
    assert any(note.startswith("4 of 4 test samples are also in the training split") for note in data.findings.notes)


def test_images_in_folders_stay_images_in_folders(place: Path, tmp_path: Path) -> None:
    """A file of Parquet beside class folders changes nothing; to read it, it is named."""
    (tmp_path / "files").symlink_to(place / "files")
    write_parquet(tmp_path / "files" / "p.parquet", frame(20, 900), FEATURES)
    try:
        data = opened(tmp_path, "data.root=AT/files")
        assert sum(len(split) for split in data.parts.values()) == 60
    finally:
        (tmp_path / "files" / "p.parquet").unlink()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["data=table", "data.root=q.parquet", "data.target=label"], "for the images in the column image, use"),
        (["data=text", "data.root=q.parquet"], "for the images in the column image, use data=folder"),
        (["data=folder", "data.root=files", "data.image=image"], "has no Parquet or Arrow"),
        (["data=folder", "data.root=two"], "has data sets in a, b; name one: data.root="),
        (["task=predict", "ckpt=run", "input=repo"], "has the splits train, test; name one: input=repo/plain/train-0"),
        (
            ["task=predict", "ckpt=run", "input=more"],
            "has more than the split train; name one: input=more/train.parquet",
        ),
        (["task=predict", "ckpt=run", "input=two"], "has data sets in a, b; name one"),
    ],
    ids=["table", "text", "image", "two", "predict", "predict_more", "predict_two"],
)
def test_the_way_to_the_images_is_said(place: Path, trained: str, words: list[str], says: str) -> None:
    write_parquet(place / "q.parquet", frame(12).select("image", "label"), FEATURES)
    for name in ("a", "b"):
        write_parquet(place / "two" / name / "train.parquet", frame(12), FEATURES)
    for name in ("train", "more"):
        write_parquet(place / "more" / f"{name}.parquet", frame(4), FEATURES)
    done = run_here(words, place)
    assert done.code == 3, done.err
    assert says in " ".join(done.err.split()), done.err


def test_a_folder_of_images_is_predicted_whatever_else_it_holds(place: Path, trained: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(1, 1))
    for name in ("x", "y"):
        write_parquet(tmp_path / name / "train.parquet", frame(4), FEATURES)
    assert len(predictor(place / "run")(tmp_path)) == 1


def test_a_predictor_knows_the_column_of_images(place: Path, tmp_path: Path) -> None:
    rows = frame(20)
    rows = rows.with_columns(second=pl.Series([picture(row, 1 - row % 2) for row in range(20)], dtype=pl.Binary))
    write_parquet(tmp_path / "p.parquet", rows, FEATURES)
    words = ["data=folder", "data.root=p.parquet", "data.image=image", "data.target=label", "hydra.run.dir=run"]
    done = run_here([*words, *SHORT], tmp_path)
    assert done.code == 0, done.err
    answers = [answer["class"] for answer in predictor(tmp_path / "run")(tmp_path / "p.parquet")]
    assert answers == [NAMES[row % 2] for row in range(20)]


@pytest.mark.extras
@pytest.mark.parametrize("form", ["set", "splits", "data.parquet", "beside.parquet"])
def test_what_the_library_itself_writes_is_read_the_same(tmp_path: Path, place: Path, form: str) -> None:
    """The other tests write its form by hand. It writes files into a set, but only their paths into Parquet."""
    import datasets

    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    files = [place / "files" / NAMES[row % 2] / f"{row:02}.png" for row in range(60)]
    images = [Image.open(io.BytesIO(file.read_bytes())) if form == "data.parquet" else str(file) for file in files]
    made = datasets.Dataset.from_dict({"image": images, "label": [row % 2 for row in range(60)]}, features=kinds)
    root = place if form == "beside.parquet" else tmp_path
    if form.endswith(".parquet"):
        made.to_parquet(root / form)
    elif form == "set":
        made.save_to_disk(root / form, num_shards=3)
    else:
        parts = {"train": made.select(range(40)), "test": made.select(range(40, 60))}
        datasets.DatasetDict(parts).save_to_disk(root / form)
    data = opened(root, f"data.root=AT/{form}")
    assert data.targets.names == ("bright", "dark")
    assert len(data.test) == 20 or form != "splits"
    if form != "splits":
        assert of(data) == of(opened(place, "data.root=AT/files"))
