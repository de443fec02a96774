"""A picture is held out by what it is, whatever size, channels and white it is brought to: the hold-out stays."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nnrun.assembly.data.seen import seen_of
from nnrun.cli import compose
from nnrun.components.data.folder import Folder
from nnrun.components.data.images import decode_sample
from nnrun.config.schema import RunSettings, from_mapping
from nnrun.core.sample_hashes import identities, identity
from nnrun.sweeps.ranking import Yardstick
from support.command_line import notes, run_here, write_files
from support.pictures import CLASSES, SETTINGS, UNDIVIDED, make_folder, pictures, save

# Each shows the same pictures otherwise.
SHOWN = ({"image_size": 8}, {"image_size": [6, 20]}, {"channels": 3}, {"channels": 1, "image_size": 8}, {"white": 4095})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNRUN_CACHE", str(tmp_path / "cache"))


def held_out(root: Path, **changes) -> list[str]:
    return sorted(Folder(str(root), **(SETTINGS | {"split_by": "content"} | changes)).load().test.names)


def coloured(root: Path) -> Path:
    """Pictures in colors, each of a size of its own, among them deep grays."""
    draw = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(25):
            shape = (10 + number % 3, 12 + label)
            deep = number % 5 == 0
            values = draw.integers(0, 3000, shape, dtype=np.uint16) if deep else draw.integers(0, 256, (*shape, 3))
            Image.fromarray(values if deep else values.astype(np.uint8)).save(root / name / f"{number:02}.png")
    return root


@pytest.mark.parametrize("shown", SHOWN, ids=str)
def test_another_form_leaves_the_hold_out_where_it_is(tmp_path: Path, shown: dict) -> None:
    """The negative control: another seed draws it anew."""
    root = coloured(tmp_path / "a")
    tested = held_out(root)
    assert 5 < len(tested) < 30
    assert held_out(root, **shown) == tested
    assert held_out(root, split_seed=1) != tested
    # The second time out of the cache.
    assert held_out(root, **shown) == tested


def test_by_position_the_hold_out_is_by_place_and_moves_with_the_names(tmp_path: Path) -> None:
    """And by content it does not."""
    root = make_folder(tmp_path / "a", {"": 20})
    before = {by: {Path(name).read_bytes() for name in held_out(root, split_by=by)} for by in ("content", "position")}
    for path in sorted(root.rglob("*.png")):
        path.rename(path.with_name(f"{999 - int(path.stem)}.png"))
    for by, is_same in (("content", True), ("position", False)):
        now = {Path(name).read_bytes() for name in held_out(root, split_by=by, image_size=8)}
        assert (now == before[by]) is is_same


def test_the_same_pixels_in_any_format_and_mode_are_on_one_side(tmp_path: Path) -> None:
    root = tmp_path / "a"
    for label, name in enumerate(CLASSES):
        for number, picture in enumerate(pictures(15, label)):
            grey = Image.fromarray(picture.numpy())
            (root / name).mkdir(parents=True, exist_ok=True)
            grey.save(root / name / f"{number:02}a.png")
            grey.save(root / name / f"{number:02}b.bmp")
            grey.convert("RGB").save(root / name / f"{number:02}c.tif")
            grey.convert("RGBA").save(root / name / f"{number:02}d.webp", lossless=True)
            grey.convert("P").save(root / name / f"{number:02}e.gif")
    tested = held_out(root, image_size=7)
    letters: dict[str, set[str]] = {}
    for name in tested:
        letters.setdefault(str(Path(name).parent / Path(name).stem[:2]), set()).add(Path(name).stem[2])
    assert letters
    assert set(map(frozenset, letters.values())) == {frozenset("abcde")}


def original(image: Image.Image, path: Path, size: tuple[int, int] | None = None, **options) -> bytes:
    image.save(path, **options)
    return decode_sample(path, 3, size).original


def test_what_stands_for_a_picture_is_what_is_seen_of_it(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    image = Image.fromarray(draw.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    it = original(image, tmp_path / "a.png")
    assert it == original(image, tmp_path / "a.png", (20, 20)) == original(image, tmp_path / "a.tif")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = image.transpose(Image.Transpose.ROTATE_90)
    assert original(turned, tmp_path / "turned.png", exif=exif) == it, "the camera's orientation is applied"
    # It is large: the checksums of its strips are hashed. One value in any of them counts.
    assert image.width * image.height * 3 > 2**14
    for place in ((0, 0, 0), (45, 60, 1), (89, 119, 2)):
        values = np.asarray(image).copy()
        values[place] ^= 1
        assert original(Image.fromarray(values), tmp_path / "b.png") != it
    small = image.resize((20, 20))
    assert original(small, tmp_path / "small.png") != it
    deep = [Image.fromarray(np.full((9, 9), value, np.uint16)) for value in (40, 41)]
    assert original(deep[0], tmp_path / "c.png") == original(deep[0], tmp_path / "c.tif")
    assert original(deep[0], tmp_path / "c.png") != original(deep[1], tmp_path / "c.png"), "though both become 0"


@pytest.mark.parametrize("size", [20, 200])
def test_an_array_of_pictures_holds_the_same_samples_as_their_files(tmp_path: Path, size: int) -> None:
    """So a network that was trained on one is not tested on it as the other."""
    values = torch.randint(256, (3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = original(Image.fromarray(values.permute(1, 2, 0).numpy()), tmp_path / "a.png")
    assert identities(values[None]).numpy().tobytes() == found == identity(list(values.flatten(1).numpy()))
    grey = original(Image.fromarray(values[0].numpy()), tmp_path / "b.png", (8, 8))
    assert identities(values[None, :1]).numpy().tobytes() == grey


def opened(words: list[str]):
    from nnrun.assembly.data.opened import open_data

    return open_data(
        from_mapping(RunSettings, compose(words, [Path("conf").resolve()]).resolved()).data, checks_batch=False
    )


def test_progressive_resizing_tests_on_nothing_that_the_first_run_saw(tmp_path: Path) -> None:
    """Without a note, since there is nothing to say; with another seed it says what was seen."""
    make_folder(tmp_path / "pics", {"": 20})
    words = ["data.batch_size=8", "trainer.epochs=1", "export=none", "trainer.progress=false"]
    words += ["model=cnn", "model.channels=[4]", "data=folder", "data.root=pics"]
    assert run_here([*words, "data.image_size=8", "hydra.run.dir=run"], tmp_path).code == 0
    larger = run_here([*words, "data.image_size=9", "init_from=run", "hydra.run.dir=larger"], tmp_path)
    assert (larger.code, "are among those that" in notes(larger)) == (0, False), larger.err
    words += ["data.image_size=9", "init_from=run", "data.split_seed=1"]
    other = run_here([*words, "hydra.run.dir=other"], tmp_path)
    assert (other.code, "test samples are among those that run/checkpoints/" in notes(other)) == (0, True), other.err


def test_pictures_of_a_class_of_the_user_s_own_stay_where_they_are_too(tmp_path: Path, monkeypatch) -> None:
    write_files(tmp_path, UNDIVIDED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    found = [
        seen_of(opened(["data=mine", *words]))["train"]["digests"].tolist()
        for words in ([], ["data.image_size=8"], ["data.channels=3"], ["data.split_seed=1"])
    ]
    sys.modules.pop("mydata")  # other tests have one of that name
    assert found[0] == found[1] == found[2] != found[3]


@pytest.mark.parametrize("key", ["image_size=[8,16]", "channels=[1,3]", "white=[255,1023]"])
def test_a_sweep_over_how_pictures_are_shown_is_ranked(key: str) -> None:
    """Their validation samples are the same ones. Of a class of one's own a parameter may draw others."""
    name, _, values = key.partition("=")
    jobs = [compose(["data=folder", "data.root=x", f"data.{name}={value}"]) for value in values[1:-1].split(",")]
    ours, theirs = (Yardstick.of(job.resolved()) for job in jobs)
    assert ours == theirs
    own = {"data": {"dataset": {"_target_": "mine.My", name: 1}}}
    other = {"data": {"dataset": {"_target_": "mine.My", name: 2}}}
    assert Yardstick.of(own) != Yardstick.of(other)
    assert Yardstick.of(compose([]).resolved()) != Yardstick.of(compose(["data.split_by=position"]).resolved())


def test_what_an_earlier_version_decoded_is_decoded_anew_and_removed(tmp_path: Path, monkeypatch) -> None:
    from nnrun.components.data import cache

    root = make_folder(tmp_path / "a", {"": 5})
    monkeypatch.setattr(cache, "VERSION", 1)
    held_out(root)
    before = set(cache.cache_root().rglob("*.samples"))
    monkeypatch.undo()
    monkeypatch.setenv("NNRUN_CACHE", str(tmp_path / "cache"))
    save(tmp_path / "unused.png", pictures(1, 0)[0])
    held_out(root)
    now = set(cache.cache_root().rglob("*.samples"))
    assert (len(before), len(now)) == (1, 1)
    assert not before & now
