"""A folder of class folders: what is read, in which order and parts, and what the cache keeps and does not believe."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from nnrun.base.errors import DataError, ResourceError
from nnrun.base.files import DurableFile
from nnrun.components.data import decoding, readable
from nnrun.components.data.cache import cache_root
from nnrun.components.data.folder import Folder
from support.pictures import CLASSES, COUNTED, SETTINGS, make_folder, pictures, save


def load(root: Path, **changes):
    return Folder(str(root), **(SETTINGS | changes)).load()


def entries(suffix: str = "json") -> list[Path]:
    return sorted(cache_root().rglob(f"*.{suffix}"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("NNRUN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The files that were decoded so far."""
    names: list[str] = []
    original = readable.decode_sample

    def noting(path, *rest):
        names.append(str(path))
        return original(path, *rest)

    monkeypatch.setattr(readable, "decode_sample", noting)
    return names


@pytest.fixture
def parted(tmp_path) -> Path:
    return make_folder(tmp_path / "a folder, é", {"train": 8, "val": 3, "test": 4})


def test_the_parts_are_the_folders_in_the_order_of_classes_and_names(parted):
    data = load(parted)
    assert data.class_names == CLASSES
    for split, number, seed in ((data.train, 8, 0), (data.valid, 3, 1), (data.test, 4, 2)):
        assert split.targets.tolist() == [label for label in range(3) for _ in range(number)]
        expected = torch.cat([pictures(number, label, seed=seed) for label in range(3)])[:, None]
        assert torch.equal(split.inputs.loaded(), expected)
    assert data.in_shape == (1, 12, 12)
    assert data.train.names[0].endswith("train/ant/000.png")


def test_mean_and_deviation_are_those_of_the_samples_to_train_on(parted):
    values = torch.cat([pictures(8, label) for label in range(3)]).double() / 255
    found = load(parted).preprocessing.to_plain()
    assert found["mean"] == pytest.approx([values.mean().item()], rel=1e-5)
    assert found["std"] == pytest.approx([values.std(correction=0).item()], rel=1e-5)
    assert load(parted, mean=[0.5], std=[0.25]).preprocessing.to_plain()["mean"] == [0.5]


def test_one_folder_of_classes_is_split_by_class_and_seed(tmp_path):
    root = make_folder(tmp_path / "all", {"": 8})
    data = load(root, test_fraction=0.25)
    assert (len(data.train), len(data.test), data.valid) == (18, 6, None)
    assert torch.bincount(data.test.targets).tolist() == [2, 2, 2]
    assert not set(data.train.names) & set(data.test.names)
    assert load(root, test_fraction=0.25).test.names == data.test.names
    assert load(root, test_fraction=0.25, split_seed=1).test.names != data.test.names
    assert len(load(root).test) == 5, "a fifth"


def test_train_without_test_gives_a_share_to_it(tmp_path):
    data = load(make_folder(tmp_path / "a", {"train": 8, "valid": 2}), test_fraction=0.25)
    assert [len(split) for split in (data.train, data.valid, data.test)] == [18, 6, 6]


def test_a_class_may_be_called_train(tmp_path):
    assert load(make_folder(tmp_path / "a", {"": 4}, ("car", "train"))).class_names == ("car", "train")


def test_size_and_channels_follow_from_most_images_and_are_said(tmp_path):
    root = make_folder(tmp_path / "a", {"": 4})
    save(root / "ant" / "odd.png", torch.zeros(40, 20, dtype=torch.uint8))
    data = load(root)
    assert data.in_shape == (1, 12, 12)
    assert data.findings.notes == ("resized and center-cropped 1 of 13 images to 12x12 (of 2 different sizes)",)
    Image.new("RGBA", (12, 12), "red").save(root / "ant" / "colour.png")
    data = load(root)
    assert data.in_shape == (3, 12, 12)
    assert data.findings.notes[0] == "converted to RGB: 13 L, 1 RGBA"
    assert (data.findings.facts["resized"], data.findings.facts["converted"]) == (1, 14)
    assert load(root, channels=1, image_size=[6, 8]).in_shape == (1, 6, 8)
    assert load(root, in_shape=[1, 10, 10]).in_shape == (1, 10, 10), "a trained network decides"


def test_a_wrong_guess_of_the_size_is_made_good(tmp_path, monkeypatch):
    """Only the first file is looked at, and is unlike the others."""
    monkeypatch.setattr(decoding, "NUM_SAMPLED", 1)
    root = make_folder(tmp_path / "a", {"": 4})
    save(root / "ant" / "000.png", torch.zeros(30, 30, dtype=torch.uint8))
    assert load(root).in_shape == (1, 12, 12)


def test_processes_decode_the_same(parted, monkeypatch):
    expected = load(parted)
    monkeypatch.setattr(decoding, "SAMPLES_FOR_PROCESSES", 1)
    monkeypatch.setattr(decoding, "CHUNK_SAMPLES", 4)
    shutil.rmtree(cache_root())
    again = load(parted)
    assert torch.equal(again.train.inputs.loaded(), expected.train.inputs.loaded())
    assert again.fingerprint == expected.fingerprint


def test_a_second_time_nothing_is_decoded_and_the_folder_is_left_as_it_was(parted, decoded):
    before = sorted(parted.rglob("*"))
    first = load(parted)
    assert len(decoded) == 45
    second = load(parted)
    assert len(decoded) == 45
    assert torch.equal(first.train.inputs.loaded(), second.train.inputs.loaded())
    assert (first.fingerprint, first.preprocessing) == (second.fingerprint, second.preprocessing)
    assert sorted(parted.rglob("*")) == before


@pytest.mark.parametrize("change", ["a file more", "a file's content", "a file's age"])
def test_changed_files_are_decoded_again_and_what_was_kept_of_the_old_is_removed(parted, decoded, change):
    old, file = load(parted), parted / "train" / "ant" / "000.png"
    (entry,) = entries()
    if change == "a file more":
        save(file.with_name("x.png"), pictures(1, 0, seed=9)[0])
    elif change == "a file's content":
        save(file, pictures(1, 0, seed=9)[0])
    else:
        os.utime(file, ns=(1, 1))
    new = load(parted)
    assert len(decoded) > 45
    assert (new.fingerprint == old.fingerprint) is (change == "a file's age"), "the same pixels are the same data"
    assert len(entries()) == 1
    assert not entry.exists()


@pytest.mark.parametrize("how", ["touch -r", "rsync -t"])
def test_another_content_of_the_same_length_and_time_is_noticed(tmp_path, decoded, how):
    """In place, or in a file that takes the place of the old one, whose time it is given."""
    root = make_folder(tmp_path / "a", {"": 4})
    file, other = root / "ant" / "x.bmp", tmp_path / "other.bmp"
    save(file, pictures(1, 0)[0])
    save(other, pictures(1, 0, seed=9)[0])
    load(root)
    before, content = file.stat(), other.read_bytes()
    if how == "touch -r":
        file.write_bytes(content)
    else:
        other.replace(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    num_decoded = len(decoded)
    data = load(root)
    assert len(decoded) > num_decoded
    samples = torch.cat([data.train.inputs.loaded(), data.test.inputs.loaded()])
    assert bool((samples == pictures(1, 0, seed=9)[:, None]).flatten(1).all(1).any())


def test_another_size_is_kept_beside(parted, decoded):
    load(parted)
    load(parted, image_size=6)
    assert len(decoded) == 90
    load(parted)
    load(parted, image_size=6)
    assert len(decoded) == 90


def test_the_same_files_elsewhere_are_the_same_data(parted, tmp_path):
    copy = shutil.copytree(parted, tmp_path / "copy", copy_function=shutil.copyfile)
    assert load(copy).fingerprint == load(parted).fingerprint


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", ["json", "measures", "samples"])
@pytest.mark.parametrize("damage", ["a bit", "a byte less", "nothing left", "gone"])
def test_a_damaged_cache_is_not_believed(parted, decoded, suffix, damage):
    expected = load(parted).train.inputs.loaded()
    (path,) = entries(suffix)
    if damage == "a bit":
        flip(path)
    elif damage == "a byte less":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "nothing left":
        path.write_bytes(b"")
    else:
        path.unlink()
    assert torch.equal(load(parted).train.inputs.loaded(), expected)
    assert len(decoded) == 90
    load(parted)
    assert len(decoded) == 90, "and made whole again"


def test_a_run_that_is_killed_leaves_nothing_that_is_believed(parted, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(DurableFile, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        load(parted)
    assert [path.name for path in cache_root().rglob("*") if path.is_file()] == [".lock"]


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(parted, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NNRUN_CACHE", str(tmp_path / "file"))
    with pytest.raises(ResourceError, match=r"cannot write the cache .*file.*set NNRUN_CACHE to another folder"):
        load(parted)
    # Where several folders are to be made it is one above that cannot be.
    monkeypatch.setenv("NNRUN_CACHE", str(tmp_path / "file" / "and" / "more"))
    with pytest.raises(ResourceError, match=r"cannot write the cache .*more.*set NNRUN_CACHE to another folder"):
        load(parted)
    monkeypatch.setenv("NNRUN_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr("nnrun.components.data.cache.free_bytes", lambda _: 10)
    with pytest.raises(ResourceError, match=r"take 6,480 bytes, but .* has 10 free"):
        load(parted)


def test_unreadable_files_end_the_run_or_are_left_out_and_counted(parted):
    (parted / "train" / "ant" / "003.png").write_bytes(b"")
    (parted / "test" / "bee" / "000.png").write_bytes(b"<html></html>")
    with pytest.raises(DataError) as caught:
        load(parted)
    assert "train/ant/003.png is empty" in caught.value.messages[0]
    assert "test/bee/000.png is not an image: it contains HTML" in caught.value.messages[1]
    assert caught.value.messages[2] == "2 of 45 samples cannot be read; skip them with data.on_bad=skip"
    for _ in range(2):  # decoded, and out of the cache
        data = load(parted, on_bad="skip")
        assert (len(data.train), len(data.test)) == (23, 11)
        assert torch.equal(data.test.inputs[4], pictures(4, 1, seed=2)[1][None])
        assert data.findings.facts["skipped"] == 2
        assert "skipped: 2 samples that cannot be read" in data.findings.notes[0]
        assert "003.png is empty" in data.findings.details[0]


def test_the_same_picture_in_train_and_test_is_said_once_with_a_count(parted):
    for name in ("000.png", "001.png"):
        shutil.copy(parted / "train" / "ant" / name, parted / "test" / "ant" / f"copy{name}")
    data = load(parted)
    (note,) = data.findings.notes
    assert note.startswith("2 of 14 test samples are also in the training split, value for value")
    assert data.findings.facts["in_train_and_test"] == 2
    assert "copy000.png" in data.findings.details[0]


def test_files_in_no_class_are_counted(parted):
    save(parted / "train" / "loose.png", pictures(1, 0)[0])
    save(parted / "loose.png", pictures(1, 0)[0])
    (parted / "train" / "ant" / "notes.txt").write_text("mine")
    data = load(parted)
    assert (data.findings.facts["unlabelled"], data.findings.facts["other_files"]) == (2, 1)
    assert "2 image files in no class folder" in data.findings.notes[0]


def test_parts_are_known_with_capitals_and_another_folder_is_said_to_be_left_out(parted):
    """The negative control is the folder as it was: nothing is said of it."""
    as_it_was = load(parted)
    (parted / "test").rename(parted / "Test")
    shutil.copytree(parted / "Test", parted / "holdout")
    save(parted / "valid" / "unsorted.png", pictures(1, 0)[0])
    data = load(parted)
    assert (as_it_was.findings.notes, len(data.test.targets)) == ((), len(as_it_was.test.targets))
    assert data.findings.notes == (
        "skipped: the folder valid with 1 image in no class folder; predict them with input=DIR ckpt=RUN",
        "skipped: the folder holdout, which is not a train, valid or test split",
    )


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.delenv("NNRUN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "nnrun"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_root() == tmp_path / "home" / ".cache" / "nnrun"


def test_an_entry_says_nothing_of_the_user(parted):
    load(parted)
    (path,) = entries()
    assert str(parted) not in json.dumps(json.loads(path.read_text()))


def test_classes_called_by_numbers_are_in_the_order_that_people_count_in(tmp_path):
    """Negative control: `text`, which runs of before the setting mean, has another order, and the labels follow it."""
    for label, name in enumerate(COUNTED):
        for part in ("train", "test"):
            for index in range(3):
                save(tmp_path / part / name / f"{index}.png", torch.full((8, 8), 10 * label + index, dtype=torch.uint8))
    natural, text = load(tmp_path), load(tmp_path, class_order="text")
    assert natural.class_names == COUNTED
    assert text.class_names == ("1", "10", "2", "b10", "b2")
    for data in (natural, text):
        for split in (data.train, data.test):
            samples, targets = split.take(torch.arange(len(split)))
            assert all(
                data.class_names[target] == COUNTED[int(sample.max()) // 10]
                for sample, target in zip(samples, targets, strict=True)
            )


@pytest.mark.parametrize("in_shape", [{"image": [1, 10, 10]}, [10, 10], [100]])
def test_a_shape_of_no_pictures_decides_nothing(parted, in_shape):
    assert load(parted, in_shape=in_shape).in_shape == (1, 12, 12)


def test_kaggle_s_folders_are_answered_with_what_is_to_be_done(tmp_path):
    root = tmp_path / "dogs-vs-cats"
    for number in range(3):
        for label, name in enumerate(("cat", "dog")):
            save(root / "train" / f"{name}.{number}.jpg", pictures(1, label, seed=number)[0])
        save(root / "test1" / f"{number}.jpg", pictures(1, 0, seed=9 + number)[0])
    with pytest.raises(
        DataError, match=r"train contains images but .*; their names begin with cat \(3\), dog \(3\)"
    ) as error:
        load(root)
    assert "Or list them in labels.csv (file,label)" in str(error.value)
    (root / "train_labels.csv").write_text("id,kind\n0,cat\n")
    with pytest.raises(DataError, match=r"if train_labels.csv lists their labels, use data.labels=train_labels.csv"):
        load(root)


def test_a_test_folder_without_labels_is_left_out_with_a_note(tmp_path):
    root = make_folder(tmp_path / "a", {"train": 6})
    for number, picture in enumerate(pictures(4, 0, seed=5)):
        save(root / "test" / f"{number}.png", picture)
    data = load(root)
    assert len(data.train) + len(data.test) == 18 and data.test_is_drawn
    note = "skipped: the folder test with 4 images in no class folder; predict them with input=DIR ckpt=RUN"
    assert note in data.findings.notes
