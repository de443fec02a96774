"""A default batch that is too large for the data is lowered, saved and resumed as lowered; a typed one is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.assembly.data.batch_size import small_batch
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.read import read_run
from support.command_line import run_here, write_files
from support.pictures import make_folder
from support.small_runs import assert_same_bits, resume, stop_at

# 45 pictures to train on: fewer than a batch of 64.
WORDS = ("data=folder", "data.root=photos", "model=mlp", "trainer.epochs=2", "export=none", "trainer.progress=false")
LOWERED = "note: data.batch_size lowered from 64 to 8: the training split has 45 samples\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    make_folder(folder / "photos", {"train": 15, "valid": 3, "test": 4})
    write_files(folder, {"conf/experiment/mine.yaml": "# @package _global_\n# Mine.\ndata:\n  batch_size: 64\n"})
    return folder


def test_a_default_batch_is_lowered_said_saved_and_resumed(place: Path) -> None:
    outcome = run_here([*WORDS, "hydra.run.dir=whole"], place)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count(LOWERED) == 1
    saved = read_run(locate(place / "whole", "last"))
    assert saved.config["data"]["batch_size"] == 8
    assert saved.progress["step"] == 2 * 6
    assert "batch_size: 8\n" in (place / "whole" / "config.yaml").read_text()
    with stop_at(4):
        assert run_here([*WORDS, "hydra.run.dir=run"], place).code == 143
    assert resume(place / "run") == 0
    assert_same_bits(place / "run", place / "whole")
    again = run_here(["ckpt=whole", "hydra.run.dir=again"], place)
    assert (again.code, "lowered" in again.out) == (0, False)


@pytest.mark.parametrize("word", ["data.batch_size=64", "experiment=mine"])
def test_one_that_was_asked_for_is_an_error(word: str, place: Path) -> None:
    outcome = run_here([*WORDS, word], place)
    assert outcome.code == 3
    assert (
        "data.batch_size=64 is larger than the training split, which has at most 45 samples; use data.batch_size=8 or"
        in outcome.err
    )


def test_an_inspection_does_the_same(place: Path) -> None:
    outcome = run_here([*WORDS[:3], "task=inspect", "hydra.run.dir=looked"], place)
    assert (outcome.code, outcome.err) == (0, "")
    assert LOWERED in outcome.out
    assert run_here([*WORDS[:3], "task=inspect", "data.batch_size=64"], place).code == 3


@pytest.mark.parametrize(
    ("num_samples", "expected"), [(1, 1), (2, 2), (7, 2), (8, 2), (16, 4), (31, 4), (32, 8), (63, 8), (400, 64)]
)
def test_a_small_part_has_some_batches_of_a_power_of_2(num_samples: int, expected: int) -> None:
    assert small_batch(num_samples) == expected
