"""data.group and data.time: a run, its resume and its evaluation draw the same parts; what does not fit is refused."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from nnrun.assembly.data.opened import Opened, open_data
from nnrun.cli import compose
from nnrun.config.schema import RunSettings, from_mapping
from support.command_line import run_here
from support.pictures import CLASSES, arrays, pictures, save
from support.small_runs import assert_same_bits, resume, summary, train

NUM_PATIENTS = 12
SMALL = ["model=mlp", "trainer.epochs=1", "export=none", "report=none", "data.batch_size=8", "trainer.progress=false"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Arrays and pictures of patients, each with a date."""
    folder = tmp_path_factory.mktemp("groups")
    draw = np.random.default_rng(0)
    x, y = arrays(60)
    patient = draw.integers(0, NUM_PATIENTS, len(y))
    when = np.datetime64("2024-01-01") + draw.integers(0, 300, len(y)).astype("timedelta64[D]")
    np.savez(folder / "a.npz", x=x, y=y, patient=patient, when=when, one=np.zeros(len(y), dtype=int))
    # Twice as many samples of the same patients, of another day.
    np.savez(folder / "more.npz", x=np.concatenate([x, 255 - x]), y=np.tile(y, 2), patient=np.tile(patient, 2))
    half = {
        f"{name}_{part}": of[some]
        for part, some in (("train", slice(90)), ("test", slice(90, None)))
        for name, of in (("x", x), ("y", y), ("patient", patient), ("when", when))
    }
    np.savez(folder / "parts.npz", **half)
    rows = []
    for label, name in enumerate(CLASSES):
        for number, picture in enumerate(pictures(30, label)):
            of = f"{name}/p{draw.integers(0, NUM_PATIENTS):02}_{number:02}.png"
            save(folder / "pics" / of, picture)
            rows.append([of, of.split("/")[1][:3], f"2024-{1 + number % 12:02}-{1 + number % 28:02}"])
    with (folder / "pics" / "visits.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "patient", "date"], *rows])
    return folder


def opened(place: Path, *words: str) -> Opened:
    data = from_mapping(RunSettings, compose([word.replace("AT", str(place)) for word in words]).resolved()).data
    return open_data(data, checks_batch=False)


def groups(data: Opened) -> list[set[int]]:
    return [set(split.keys.groups.tolist()) for split in data.parts.values()]


@pytest.mark.parametrize(
    "words",
    [
        ["data=arrays", "data.root=AT/a.npz", "data.group=patient"],
        ["data=arrays", "data.root=AT/a.npz", "data.group=patient", "data.num_folds=3", "data.fold=2"],
        ["data=arrays", "data.root=AT/a.npz", "data.group=patient", "data.split_by=position"],
        ["data=folder", "data.root=AT/pics", "data.group=/p([0-9]+)_"],
        ["data=folder", "data.root=AT/pics", "data.labels=AT/pics/visits.csv", "data.group=patient", "data.time=date"],
    ],
    ids=["arrays", "folds", "position", "names", "list"],
)
def test_no_group_is_in_two_parts(place: Path, words: list[str]) -> None:
    data = opened(place, *words)
    assert sum(map(len, groups(data))) == len(set.union(*groups(data))) == NUM_PATIENTS
    assert all(map(len, groups(data)))
    # The negative control.
    without = opened(
        place, *(word for word in words if not word.startswith(("data.group", "data.time", "data.labels")))
    )
    assert all(split.keys is None for split in without.parts.values())
    assert torch.equal(data.test.targets.unique(), torch.arange(3)), "the classes are those of the folders"


def test_the_newest_are_the_test_and_the_next_ones_the_validation(place: Path) -> None:
    data = opened(place, "data=arrays", "data.root=AT/a.npz", "data.time=when")
    train, valid, test = (split.keys.times for split in data.parts.values())
    assert train.max() < valid.min() and valid.max() < test.min()
    assert (len(test), len(valid)) == (35, 14)
    # Of data with a test split of its own, the newest of the others are the validation split.
    data = opened(place, "data=arrays", "data.root=AT/parts.npz", "data.time=when")
    assert len(data.test) == 90
    assert data.train.keys.times.max() < data.valid.keys.times.min()


def test_a_run_a_resume_and_an_evaluation_draw_the_same_parts(place: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["data=arrays", f"data.root={place}/a.npz", "data.group=patient", "data.limit=null"]
    assert train(place / "whole", *words) == 0
    assert "groups by patient: 9 train, 1 valid, 2 test" in " ".join(capsys.readouterr().out.split())
    assert train(place / "cut", *words, stop=4) == 143
    assert resume(place / "cut") == 0
    assert_same_bits(place / "whole", place / "cut")
    measured = run_here([f"ckpt={place}/whole", "hydra.run.dir=again"], place)
    assert measured.code == 0, measured.err
    assert summary(place / "again")["metrics"] == {
        key: value for key, value in summary(place / "whole")["metrics"].items() if not key.startswith("train/")
    }
    # Other pictures of the patients that it was trained on do not count as new.
    more = run_here([f"ckpt={place}/whole", f"data.root={place}/more.npz", "hydra.run.dir=more"], place)
    assert more.code == 0, more.err
    data = opened(place, *words)
    known = len(data.train) + len(data.valid or ())
    assert summary(place / "more")["data"]["seen_left_out_of_test"] == 2 * known
    assert "or on others of their groups" in more.out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["data.group=x"], 2, "data.group=x has no effect: data=digits does not take it"),
        (
            ["data=arrays", "data.root=AT/a.npz", "data.group=patiemt"],
            3,
            "needs an array patiemt .* did you mean 'pati",
        ),
        (["data=arrays", "data.root=AT/a.npz", "data.group=one"], 3, "all 180 samples are of one group, so no test"),
        (["data=arrays", "data.root=AT/parts.npz", "data.group=patient"], 3, "12 groups .* are in both train and test"),
        (
            ["data=arrays", "data.root=AT/parts.npz", "data.time=when", "data.val_fraction=0"],
            2,
            "data.time=when has no",
        ),
        (
            ["data=arrays", "data.root=AT/a.npz", "data.time=when", "data.split_seed=1"],
            2,
            "data.split_seed=1 has no ef",
        ),
        (["data=folder", "data.root=AT/pics", "data.group=patient"], 3, "is not a column: the classes are folders"),
        (
            ["data=folder", "data.root=AT/pics", "data.labels=AT/pics/visits.csv", "data.time=day"],
            2,
            "data.time names day, which is not a column of .*; it has patient, date",
        ),
        (["data=folder", "data.root=AT/pics", "data.group=p("], 2, "is not a regular expression"),
        (["ckpt=AT/whole", "data.group=null"], 2, "its run used data.group=patient"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_does_not_fit_is_refused(place: Path, words: list[str], code: int, says: str) -> None:
    extra = ["early_stopping=none"] if "data.val_fraction=0" in words else []
    small = [] if words[0].startswith("ckpt") else [*SMALL, *extra]
    outcome = run_here([*small, *(word.replace("AT", str(place)) for word in words)], place)
    assert outcome.code == code, outcome.err
    assert re.search(says, " ".join(outcome.err.split())), outcome.err
