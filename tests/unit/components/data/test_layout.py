"""What is found in a folder of folders: classes, parts that only look like classes, and files that are not taken."""

from __future__ import annotations

import functools
import io
import re
import unicodedata
from pathlib import Path

import pytest
import torch
from PIL import Image

from nnrun.base.errors import DataError
from nnrun.components.data import finding
from nnrun.components.data.folder import Folder
from nnrun.components.data.left_out import left_out
from nnrun.components.data.listing import Listing, list_folder
from support.pictures import SETTINGS


@functools.cache
def png(shade: int = 0, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), shade).save(file, kind)
    return file.getvalue()


def make(root: Path, *places: str) -> Path:
    """A picture at each place; two in a folder that is named alone."""
    for number, place in enumerate(places):
        for path in [place] if "." in Path(place).name else [f"{place}/1.png", f"{place}/2.png"]:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(png(number) if path.endswith(("png", "jpg")) else b"text")
    return root


NO_CLASSES = {
    "dogs and cats": (
        ("train/cat.0.jpg", "train/dog.0.jpg", "test/1.jpg"),
        "a/train contains images but no class folders",
    ),
    "with numbers": (("train/cat.0.jpg", "test1/1.jpg"), "a/train contains images but no class folders"),
    "of images": (("train_images", "test_images"), "a/train_images contains images but no class folders"),
    "in capitals": (("Train", "TEST", "Validation"), "a/Train contains images but no class folders"),
    "of two styles": (("trainA", "trainB", "testA", "testB"), "a/trainA contains images but no class folders"),
    "with classes in one": (("train", "test/cat", "test/dog"), "a/train contains images but no class folders"),
    "nested once more": (
        ("train/train/cat.0.jpg", "test/test/1.jpg"),
        "a/train/train contains images but no class folders",
    ),
    "a part alone": (("train",), "a/train contains images but no class folders"),
    "sets": (("training_set/cat", "training_set/dog", "test_set/cat", "test_set/dog"), "which are splits, not classes"),
    "of Intel": (
        ("seg_train/seg_train/sea", "seg_test/seg_test/sea", "seg_pred/1.jpg"),
        "seg_pred contains images but no",
    ),
    "classes in parts": (
        ("cat_train/x", "cat_test/x", "dog_train/x", "dog_test/x"),
        "cat_train and cat_test, which are",
    ),
    "images and labels": (("images/1.png", "labels/1.txt"), "contains images and labels, which are not classes"),
    "images and masks": (
        ("train/images", "train/masks", "test/images"),
        "a/train contains images and masks, which are not",
    ),
    "of VOC": (("JPEGImages", "Annotations/1.xml"), "contains JPEGImages and Annotations, which are not classes"),
    "one folder": (("all",), "contains one class folder, all; classification needs at least two classes"),
    "classes that hold parts": (("cat/train", "cat/test", "dog/train", "dog/test"), "such as .*a/train/cat$"),
    "a set beside a test": (
        ("set/set/train/cat", "set/set/valid/cat", "test/test"),
        "not a class; use data.root=.*a/set/set$",
    ),
    "the classes once more": (
        ("rose", "tulip", "flowers/rose", "flowers/tulip"),
        "flowers contains rose and tulip, as .*a",
    ),
    "an archive": (("archive/train/cat", "archive/test/cat"), "use data.root=.*a/archive$"),
    "an archive in one": (("archive/data/cat", "archive/data/dog", "__MACOSX/x"), "use data.root=.*a/archive/data$"),
    "images alone": (("1.png",), "contains no class folders"),
}


@pytest.mark.parametrize("name", NO_CLASSES)
def test_what_only_looks_like_classes_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    places, reason = NO_CLASSES[name]
    with pytest.raises(DataError, match=reason):
        list_folder(make(tmp_path / "a", *places))


CLASSES = {
    "a class called train": (("car", "train", "bus"), ["bus", "car", "train"]),
    "and a tube": (("bullet_train", "test_tube", "validator"), ["bullet_train", "test_tube", "validator"]),
    "parts with capitals": (("Training/cat", "Training/dog", "Testing/cat", "Testing/dog"), ["cat", "dog"]),
    "masks": (("mask", "no_mask"), ["mask", "no_mask"]),
    "numbers": (("0", "1"), ["0", "1"]),
    "other scripts": (("тест", "поезд"), ["поезд", "тест"]),
    "what programs leave": (("cat", "dog", "__MACOSX/cat", ".ipynb_checkpoints", "@eaDir"), ["cat", "dog"]),
    "folders of a class's name": (("rose", "tulip", "cactus/rose"), ["cactus", "rose", "tulip"]),
    "folders in classes": (("cat/monday", "dog/tuesday"), ["cat", "dog"]),
}


@pytest.mark.parametrize("name", CLASSES)
def test_what_are_classes_is_taken(tmp_path: Path, name: str) -> None:
    """The negative control of the table above."""
    places, expected = CLASSES[name]
    assert list(list_folder(make(tmp_path / "a", *places)).classes) == expected


def test_folders_that_are_not_meant_and_classes_that_look_alike_inside_are_said(tmp_path: Path) -> None:
    plain = list_folder(make(tmp_path / "a", "cat/1", "dog/2"))
    assert plain.notes == ()
    left = list_folder(make(tmp_path / "a", "__MACOSX/cat"))
    assert left.notes == ("skipped: the folder __MACOSX in a, which a program left",)
    alike = list_folder(make(tmp_path / "b", "site1/cat", "site1/dog", "site2/cat", "site2/dog"))
    assert alike.notes == (
        "every class folder contains the folders cat, dog: all images below site1, for example, are class site1",
    )


FORMS = ("NFC", "NFD")
NFC, NFD = "caf\u00e9", "cafe\u0301"


def labels(listing: Listing, part: str) -> list[int]:
    return [file.label for file in listing.parts[part]]


def test_a_name_in_two_unicode_forms_is_one_class(tmp_path: Path) -> None:
    """As a copy from macOS makes it; byte for byte these are two names, and were two classes, or an error."""
    assert NFC != NFD
    across = list_folder(make(tmp_path / "a", f"train/{NFD}", "train/tea", f"test/{NFC}", "test/tea"))
    assert (across.classes, labels(across, "test"), across.notes) == ((NFC, "tea"), [0, 0, 1, 1], ())
    accents = ("e\u0301clair", "flan", "zabaglione")
    moved = [
        list_folder(make(tmp_path / form, *(unicodedata.normalize(form, name) for name in accents))) for form in FORMS
    ]
    assert moved[0].classes == moved[1].classes, "copied from one system to another it is the same data"
    as_before = list_folder(tmp_path / "NFD", class_order="text").classes
    assert as_before == accents, "an older run keeps the names and the order that it was trained with"
    within = list_folder(make(tmp_path / "b", NFC, NFD, "tea"))
    assert (within.classes, labels(within, "all")) == ((NFC, "tea"), [0, 0, 0, 0, 1, 1])
    (note,) = within.notes
    assert re.search(r"contains 2 folders named café, in two Unicode forms: they are one class", note)
    other = unicodedata.normalize("NFD", "cafè")
    assert len(list_folder(make(tmp_path / "c", NFC, other)).classes) == 2, "another accent is another class"


def test_files_that_are_not_taken_are_counted_named_and_told_what_they_are(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("NNRUN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(finding, "reads_heic", lambda: False)
    root = tmp_path / "a"
    for number in range(10):
        make(root, f"cat/{number}.png")
        (root / "cat" / f"{number}.png").write_bytes(png(number))
        make(root, f"dog/{number}.png")
        (root / "dog" / f"{number}.png").write_bytes(png(100 + number))
    settings = SETTINGS | {"root": str(root)}
    assert not any("skipped" in note for note in Folder(**settings).load().findings.notes)
    (root / "cat" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (root / "cat" / "5").write_bytes(png(5))
    (root / "dog" / "6.jpg_large").write_bytes(png(6, "JPEG"))
    (root / "dog" / "notes.txt").write_text("mine")
    (root / "dog" / ".DS_Store").write_bytes(b"x")
    data = Folder(**settings).load()
    assert len(data.train.targets) + len(data.test.targets) == 20
    (note,) = data.findings.notes
    names = "cat/5, cat/IMG_1.HEIC, dog/6.jpg_large, ..."
    assert note.startswith(f"skipped 4 files without an image suffix ({names})"), "from data.root on"
    assert "and 1 hidden file; 1 of them is HEIC: pip install 'nnrun[heic]' to read them" in note
    assert "; 2 of them are images by their contents (PNG and JPEG): give them the right suffix" in note
    assert (data.findings.facts["other_files"], data.findings.facts["hidden_files"]) == (4, 1)
    for name in ("IMG_1.HEIC", "cat/5", "6.jpg_large", "notes.txt"):
        assert any(name in line for line in data.findings.details)
    assert torch.equal(torch.bincount(data.test.targets), torch.tensor([2, 2]))


def test_nothing_is_said_where_nothing_is_left_out() -> None:
    assert left_out([], 0) == ""
