"""What a trained network is measured on: never what it was trained on, and all of data that it has not seen."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnrun.assembly.data import seen
from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.components.data.sample_stats import Measures
from support.command_line import notes, run_here, write_files
from support.pictures import CLASSES, UNDIVIDED, arrays, make_folder, pictures, save
from support.small_runs import manifest, summary

WORDS = [
    *("model=mlp", "model.hidden=8", "data.batch_size=8", "trainer.epochs=1", "export=none", "trainer.progress=false"),
]


def measured(run: Path, part: str = "test") -> int:
    return sum(row["samples"] for row in summary(run)["details"][part]["per_class"])


def grow(root: Path, number: int = 5, seed: int = 9) -> None:
    """Add pictures of each class, under names between the others."""
    for label, name in enumerate(CLASSES):
        for index, picture in enumerate(pictures(number, label, seed=seed)):
            save(root / name / f"{index:03}b.png", picture)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures of three classes, without parts, and a run on them."""
    home = tmp_path_factory.mktemp("trained")
    make_folder(home / "pics", {"": 20})
    outcome = run_here([*WORDS, "data=folder", "data.root=pics", "hydra.run.dir=run"], home)
    assert outcome.code == 0, outcome.err
    return home


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    """The test's own copy: the data lie where the run's are not, so that data.root= names them."""
    return Path(shutil.copytree(trained, tmp_path / "home", symlinks=True))


@pytest.fixture
def in_place(home: Path) -> Path:
    """The same with a run whose data lie in it: what happens to them happens in place."""
    shutil.rmtree(home / "run")
    outcome = run_here([*WORDS, "data=folder", "data.root=pics", "hydra.run.dir=run"], home)
    assert outcome.code == 0, outcome.err
    return home


def as_by_an_earlier_version(run: Path) -> None:
    """Take out of a checkpoint what 0.1.0 did not save, so that it means what it meant then."""
    path = run / "checkpoints" / manifest(run)["best"]
    payload = torch.load(path, weights_only=True)
    for section in (payload["config"]["data"], payload["config"]["data"]["dataset"]):
        section.pop("split_by", None)
    del payload["seen"], payload["schema"]
    CheckpointFolder(run, 2).save(payload, 999, is_best=True)


def test_data_that_grow_are_said_and_what_was_trained_on_stays_out_of_the_test(in_place: Path) -> None:
    before = summary(in_place / "run")
    same = run_here(["ckpt=run", "hydra.run.dir=same"], in_place)
    assert (same.code, notes(same)) == (0, ""), "the negative control: nothing has changed"
    assert summary(in_place / "same")["metrics"] == before["metrics"]
    trained_on = _digests(in_place, "train") | _digests(in_place, "valid")
    tested = _digests(in_place, "test")
    grow(in_place / "pics")
    done = run_here(["ckpt=run", "hydra.run.dir=grown"], in_place)
    assert done.code == 0, done.err
    assert "the data has changed since run/checkpoints/" in notes(done)
    assert summary(in_place / "grown")["data"]["other_data"] is True
    now = _digests(in_place, "test")
    assert tested <= now
    assert not now & trained_on
    assert measured(in_place / "grown") == len(now) > len(tested)


def _digests(home: Path, part: str) -> set[int]:
    """The samples of a part as a new run would draw them."""
    from nnrun.assembly.data.opened import open_data
    from nnrun.cli import compose
    from nnrun.config.schema import RunSettings, from_mapping

    tree = compose(["data=folder", f"data.root={home / 'pics'}"]).resolved()
    return set(open_data(from_mapping(RunSettings, tree).data, checks_batch=False).parts[part].digested().tolist())


def test_a_run_of_an_earlier_version_is_not_measured_on_data_that_grew(in_place: Path) -> None:
    """It drew its test by position: what it was trained on cannot be known. On its own data it is measured as ever."""
    words = [*WORDS, "data=folder", "data.root=pics", "data.split_by=position", "hydra.run.dir=old"]
    assert run_here(words, in_place).code == 0
    as_by_an_earlier_version(in_place / "old")
    same = run_here(["ckpt=old", "hydra.run.dir=same"], in_place)
    assert (same.code, notes(same)) == (0, "")
    assert summary(in_place / "same")["metrics"] == summary(in_place / "old")["metrics"]
    assert measured(in_place / "same") == 12, "a fifth, of each class its exact share"
    grow(in_place / "pics")
    done = run_here(["ckpt=old"], in_place)
    assert done.code == 3
    assert "that the network was trained on are unknown" in done.err
    assert "a folder test" in done.err
    other = run_here(["ckpt=old", "data.root=other", "hydra.run.dir=e"], _other(in_place))
    assert (other.code, measured(in_place / "e")) == (0, 9), other.err
    assert "test samples: old" in notes(other) and "was written by an earlier version" in notes(other)


def _other(home: Path, number: int = 3, parts: str = "") -> Path:
    make_folder(home / "other", {f"unused {seed}": 0 for seed in range(3)} | {parts: number})
    return home


def test_of_another_folder_of_classes_all_is_test(home: Path) -> None:
    done = run_here(["ckpt=run", "data.root=other", "hydra.run.dir=e"], _other(home))
    assert done.code == 0, done.err
    assert measured(home / "e") == 9
    assert "all 9 samples are test" in notes(done)
    assert "data: folder in other, 9 test samples of 3 classes" in done.out
    assert "skipped" not in done.out


def test_a_folder_with_a_test_part_alone_and_one_that_lacks_a_class_can_be_measured(home: Path) -> None:
    _other(home, parts="test")
    shutil.rmtree(home / "other" / "test" / "bee")
    done = run_here(["ckpt=run", "data.root=other", "hydra.run.dir=e"], home)
    assert done.code == 0, done.err
    assert [row["samples"] for row in summary(home / "e")["details"]["test"]["per_class"]] == [3, 0, 3]
    assert "the test split has no samples of the class bee" in notes(done)
    trains = run_here([*WORDS, "data=folder", "data.root=other"], home)
    assert trains.code == 3, "the negative control: there is nothing to train on"


def test_a_class_that_the_network_does_not_know_is_refused(home: Path) -> None:
    _other(home)
    save(home / "other" / "eel" / "1.png", pictures(1, 0)[0])
    done = run_here(["ckpt=run", "data.root=other"], home)
    assert done.code == 3
    assert "has the class folder eel, which is not a class of the network; its classes are ant, bee, cat é" in done.err


def test_the_run_s_own_data_at_another_place_are_split_as_it_split_them(home: Path) -> None:
    """And with more beside them nothing of what it saw is tested: the test is what is left, all of it."""
    before = summary(home / "run")["metrics"]
    shutil.move(home / "pics", home / "moved")
    done = run_here(["ckpt=run", "data.root=moved", "hydra.run.dir=e"], home)
    assert done.code == 0, done.err
    assert summary(home / "e")["metrics"] == before
    tested = measured(home / "run")
    assert f"{tested} of 60 samples are test; the other {60 - tested} were used for training" in notes(done)
    grow(home / "moved")
    done = run_here(["ckpt=run", "data.root=moved", "hydra.run.dir=grown"], home)
    assert done.code == 0, done.err
    assert measured(home / "grown") == tested + 15
    assert f"skipped {60 - tested} of 75 test samples: the network was trained on them" in notes(done)


def test_what_was_trained_on_is_no_test_part_of_another_folder(home: Path) -> None:
    make_folder(home / "other", {"test": 20})  # the same pictures: the seed of the first part is that of the run's
    tested = measured(home / "run")
    done = run_here(["ckpt=run", "data.root=other", "hydra.run.dir=e"], home)
    assert (done.code, measured(home / "e")) == (0, tested), done.err
    trained_on = [path for path in (home / "other" / "test").rglob("*.png") if _is_seen(home / "run", path)]
    assert len(trained_on) == 60 - tested
    for path in set((home / "other" / "test").rglob("*.png")) - set(trained_on):
        path.unlink()
    done = run_here(["ckpt=run", "data.root=other"], home)
    assert done.code == 3
    assert f"all of {60 - tested} test samples are among those that run/checkpoints/" in done.err


def _is_seen(run: Path, path: Path) -> bool:
    from nnrun.components.data.images import read_image

    payload = torch.load(run / "checkpoints" / manifest(run)["best"], weights_only=True)
    digest = Measures.of(read_image(path, 1, None)[None]).digests
    return any(bool(torch.isin(digest, part["digests"])) for part in payload["seen"].values())


def test_of_very_many_samples_some_stand_for_all(in_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a few are found again, what the rule holds out is test; where it cannot be told, nothing is measured."""
    monkeypatch.setattr(seen, "MAX_DIGESTS", 10)
    assert run_here([*WORDS, "data=folder", "data.root=pics", "hydra.run.dir=many"], in_place).code == 0
    tested = measured(in_place / "many")
    shutil.copytree(in_place / "pics", in_place / "other")
    save(in_place / "other" / "ant" / "new.png", pictures(1, 0, seed=8)[0])
    done = run_here(["ckpt=many", "data.root=other", "hydra.run.dir=e"], in_place)
    assert (done.code, measured(in_place / "e")) in [(0, tested), (0, tested + 1)], done.err
    assert "only the samples that the run's split holds out are test" in notes(done)
    (in_place / "part").mkdir()
    shutil.move(in_place / "other", in_place / "part" / "test")
    done = run_here(["ckpt=many", "data.root=part"], in_place)
    assert done.code == 3
    assert "at least" in done.err


def test_data_that_are_all_others_in_the_same_place_are_refused(in_place: Path) -> None:
    """Whether they are new, or the old ones decoded otherwise, cannot be told. By another name they are measured."""
    shutil.rmtree(in_place / "pics")
    make_folder(in_place / "pics", {"unused 0": 0, "unused 1": 0, "": 20})
    done = run_here(["ckpt=run"], in_place)
    assert done.code == 3
    assert "it has 0% of the samples that the network was trained on" in done.err
    shutil.move(in_place / "pics", in_place / "other")
    assert run_here(["ckpt=run", "data.root=other"], in_place).code == 0


@pytest.mark.parametrize(
    "word", ["data.split_seed=3", "data.val_fraction=0.3", "data.dataset.test_fraction=0.4", "data.split_by=position"]
)
def test_words_that_would_draw_the_hold_out_anew_are_refused(trained: Path, word: str) -> None:
    done = run_here(["ckpt=run", word], trained)
    assert done.code == 2
    assert f"{word} would test or validate on samples that the network was trained on" in done.err
    assert run_here([*WORDS, "data=folder", "data.root=pics", word], trained).code == 0, "a new run takes it"


@pytest.mark.parametrize(
    ("word", "code", "says"),
    [
        ("data.image_size=8", 3, "data.in_shape is [1, 12, 12], but folder has [1, 8, 8] (data.image_size=8)"),
        ("data.channels=3", 3, "data.in_shape is [1, 12, 12], but folder has [3, 12, 12]"),
        ("data.class_order=text", 0, "data.class_order has no effect with ckpt="),
        ("data.white=100", 0, ""),
    ],
)
def test_what_is_typed_of_the_data_beside_ckpt_is_not_ignored(
    trained: Path, tmp_path: Path, word: str, code: int, says: str
) -> None:
    """A checkpoint holds what its data set took of `data` as values, which the words went by."""
    outcome = run_here(["ckpt=run", word, f"hydra.run.dir={tmp_path / 'run'}"], trained)
    assert outcome.code == code
    assert says in outcome.out + outcome.err


@pytest.mark.parametrize(("channels", "code"), [((), 0), ((3,), 3)])
def test_pictures_that_the_network_cannot_take_are_refused_with_both_shapes(
    trained: Path, tmp_path: Path, channels: tuple[int, ...], code: int
) -> None:
    """It learned gray ones. Negative control: gray ones of another data set are measured."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 12, *channels), dtype=np.uint8)
    np.savez(tmp_path / "other.npz", x=pixels, y=np.array(CLASSES * 4))
    words = ["ckpt=run", "data=arrays", f"data.root={tmp_path / 'other.npz'}", f"hydra.run.dir={tmp_path / 'run'}"]
    outcome = run_here(words, trained)
    assert outcome.code == code, outcome.err
    assert ("trained on samples of 1x12x12 and does not take those of data=arrays, 3x12x12" in outcome.err) == bool(
        code
    )


def test_a_smaller_limit_beside_ckpt_tests_less_of_the_test_part(trained: Path, tmp_path: Path) -> None:
    done = run_here(["ckpt=run", "data.limit=6", f"hydra.run.dir={tmp_path / 'e'}"], trained)
    assert (done.code, measured(tmp_path / "e")) == (0, 6), done.err
    assert f"6 of {measured(trained / 'run')} test samples of 3 classes (data.limit=6)" in done.out
    assert "fingerprint" not in notes(done), "the data are the run's"


def test_arrays_grow_and_come_without_parts_or_classes(tmp_path: Path) -> None:
    x, y = arrays(30)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    words = [*WORDS, "data=arrays", "data.root=a.npz", "hydra.run.dir=run"]
    assert run_here(words, tmp_path).code == 0
    tested = measured(tmp_path / "run")
    more, labels = arrays(5, seed=3)
    np.savez(tmp_path / "a.npz", x=np.concatenate([more, x]), y=np.concatenate([labels, y]))
    done = run_here(["ckpt=run", "hydra.run.dir=grown"], tmp_path)
    assert done.code == 0, done.err
    assert tested <= measured(tmp_path / "grown") <= tested + 10
    np.savez(tmp_path / "b.npz", x=more[labels != 1], y=labels[labels != 1])
    for name, files in {"b.npz": {}, "test.npz": {"x_test": more, "y_test": labels}}.items():
        if files:
            np.savez(tmp_path / name, **files)
        done = run_here(["ckpt=run", f"data.root={name}", f"hydra.run.dir={name}_run"], tmp_path)
        assert done.code == 0, done.err
        assert measured(tmp_path / f"{name}_run") == (15 if files else 10)
    changed = np.where(y == 2, 1, y)
    np.savez(tmp_path / "a.npz", x=x, y=changed)
    done = run_here(["ckpt=run", "hydra.run.dir=relabelled"], tmp_path)
    assert (done.code, measured(tmp_path / "relabelled")) == (0, tested), "a label that changed moves no sample"
    assert "the test split has no samples of the class 2" in notes(done)
    np.savez(tmp_path / "a.npz", x=x, y=y + 1)
    assert "label '3', which is not a class of the network" in run_here(["ckpt=run"], tmp_path).err


def test_a_class_of_the_user_s_own_grows_too(tmp_path: Path) -> None:
    write_files(tmp_path, UNDIVIDED)
    assert run_here([*WORDS, "data=mine", "hydra.run.dir=run"], tmp_path).code == 0
    tested = measured(tmp_path / "run")
    for given, number in ((["seed=5"], 60), (["seed=5", "labels=[0,2]"], 40), (["number=20"], tested)):
        words = [f"data.dataset.{word}" for word in given]
        done = run_here(["ckpt=run", "trust=[mydata]", *words, "hydra.run.dir=e"], tmp_path)
        assert (done.code, measured(tmp_path / "e")) == (0, number), done.err
        shutil.rmtree(tmp_path / "e")
    grown = UNDIVIDED["mydata.py"].replace("= arrays(number, seed)", "= grown(number)") + GROWN
    (tmp_path / "mydata.py").write_text(grown)
    done = run_here(["ckpt=run", "trust=[mydata]", "hydra.run.dir=e"], tmp_path)
    assert done.code == 0, done.err
    assert tested < measured(tmp_path / "e") < tested + 45


GROWN = """

def grown(number):
    import numpy as np
    (x, y), (more, labels) = arrays(number), arrays(15, 7)
    return np.concatenate([more, x]), np.concatenate([labels, y])
"""


def test_a_new_run_says_what_the_weights_that_it_starts_from_have_seen(in_place: Path) -> None:
    """The negative control: by the same rule on the same data they have seen nothing that is held out."""
    words = [*WORDS, "data=folder", "data.root=pics"]
    for start in ("init_from=run", "transfer.weights=run"):
        same = run_here([*words, start, f"hydra.run.dir=same_{start[:4]}"], in_place)
        assert (same.code, notes(same)) == (0, ""), same.err
        other = run_here([*words, start, "data.split_seed=1", f"hydra.run.dir=other_{start[:4]}"], in_place)
        assert other.code == 0, other.err
        assert "test samples are among those that run/checkpoints/" in notes(other)
        assert "valid samples are among those that run/checkpoints/" in notes(other)
    as_by_an_earlier_version(in_place / "run")
    assert "it is unknown whether it was trained on samples that are held out here" in notes(
        run_here([*words, "init_from=run"], in_place)
    )


def test_an_export_that_needs_samples_to_train_on_says_so_where_there_are_none(home: Path) -> None:
    """And no word on how its weights were chosen: it is other data that are measured."""
    done = run_here(["ckpt=run", "data.root=other", "export=onnx_int8", "hydra.run.dir=e"], _other(home))
    assert (done.code, "no validation split to choose by" in done.out) == (4, False)
    assert "int8 needs training samples for its calibration, but the data has none" in done.err


def test_an_inspection_says_that_the_data_is_other(in_place: Path) -> None:
    same = run_here(["task=inspect", "ckpt=run"], in_place)
    assert (same.code, "fingerprint" in same.out) == (0, False), same.err
    grow(in_place / "pics")
    assert "the data is not that of run/" in notes(run_here(["task=inspect", "ckpt=run"], in_place))


@pytest.mark.parametrize("damage", ["digests", "num_samples", "another part", "no part"])
def test_a_checkpoint_that_does_not_say_rightly_what_it_saw_is_refused(home: Path, damage: str) -> None:
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "digests": lambda seen: seen["train"].update(digests=torch.zeros(2, 2)),
        "num_samples": lambda seen: seen["train"].update(num_samples=-1),
        "no part": lambda seen: seen.clear(),
        "another part": lambda seen: seen.update(test={}),
    }
    path = home / "run" / "checkpoints" / manifest(home / "run")["best"]
    payload = torch.load(path, weights_only=True)
    del payload["schema"]
    changes[damage](payload["seen"])
    CheckpointFolder(home / "run", 2).save(payload, 999, is_best=True)
    done = run_here(["ckpt=run"], home)
    assert (done.code, "is malformed" in done.err) == (4, True), done.err
