"""Where runs are written and read: paths of any name, directories of their own, outputs/latest."""

from __future__ import annotations

import json
import threading
from datetime import datetime
from pathlib import Path

import pytest

from nnrun.runs import directory as rundir
from support.command_line import SHORT, Outcome, Row, assert_ended_as, mnist_files

ODD_NAMES = ("two words", "a=b", "a,[b]", "it's {é}")

ROWS: dict[str, Row] = {
    **{
        f"train in {odd}": Row([*SHORT, "model=mlp", f"hydra.run.dir=out/{odd}"], 0, [], folder="odd")
        for odd in ODD_NAMES
    },
    **{f"ckpt={odd}": Row([f"ckpt=out/{odd}", f"hydra.run.dir=of/{odd}"], 0, [], folder="odd") for odd in ODD_NAMES},
    "init_from": Row([*SHORT, "model=mlp", "init_from=out/a,[b]", "hydra.run.dir=from"], 0, [], folder="odd"),
    "resume": Row(["resume=out/a,[b]"], 0, [], folder="odd"),
    "quoted for hydra": Row(["ckpt='out/a,[b]'"], 0, [], folder="odd"),
    "data.root": Row(
        [*SHORT, "model=mlp", "data=mnist", "data.batch_size=8", "data.root=my data=é,[1]"],
        0,
        [],
        mnist_files("my data=é,[1]"),
    ),
    "references: trained": Row(
        [*SHORT, "model=mlp", "hydra.run.dir=logs/${seed}_${now:%Y}_${hydra:runtime.choices.model}"],
        0,
        [],
        folder="references",
    ),
    "references: no reference": Row([*SHORT, "model=mlp", "hydra.run.dir=logs/\\${seed}"], 0, [], folder="references"),
    "references: evaluated": Row(
        ["ckpt=logs/${oc.env:RUN_OF_THE_TEST}", "hydra.run.dir=evaluated"], 0, [], folder="references"
    ),
    "references: swept": Row(
        ["-m", *SHORT, "model=mlp", "seed=4,5", "hydra.sweep.dir=logs/${data.name}s"], 0, [], folder="references"
    ),
    "references: to what is swept over": Row(
        ["-m", "seed=4,5", "hydra.sweep.dir=logs/${seed}"], 2, ["refers to seed, which is not known here"]
    ),
    "latest: first": Row([*SHORT, "model=mlp", "hydra.run.dir=first"], 0, [], folder="latest"),
    "latest: second": Row([*SHORT, "model=mlp", "hydra.run.dir=second", "seed=1"], 0, [], folder="latest"),
    "latest: evaluated": Row(["ckpt=first"], 0, [], folder="latest"),
    "latest: wrong": Row(["optimizer.lr=-1"], 2, [], folder="latest"),
}


ENVIRONMENT = {"RUN_OF_THE_TEST": f"0_{datetime.now():%Y}_mlp"}


@pytest.mark.parametrize("name", ROWS)
def test_a_command_ends_with_its_exit_code(name: str, rows: tuple[Path, dict[str, Outcome]]) -> None:
    assert_ended_as(ROWS[name], rows[1][name])


@pytest.mark.parametrize("odd", ODD_NAMES)
def test_odd_paths_are_taken_as_they_are(odd: str, rows: tuple[Path, dict[str, Outcome]]) -> None:
    folder = rows[0] / "odd"
    trained, evaluated = (json.loads((folder / where / odd / "summary.json").read_text()) for where in ("out", "of"))
    assert (trained["task"], evaluated["task"]) == ("train", "evaluate")
    assert trained["metrics"] == evaluated["metrics"]


def test_the_name_of_a_directory_says_the_task_and_the_network(rows: tuple[Path, dict[str, Outcome]]) -> None:
    """But for a training, which is the network itself."""
    (evaluated,) = (rows[0] / "latest").glob("outputs/20*/*")
    assert evaluated.name[len("14-03-22") :] == "_evaluate_mlp_digits"
    assert not any("_train_" in path.name for path in rows[0].glob("*/outputs/20*/*"))


def test_references_in_a_path_are_resolved_as_in_any_value(rows: tuple[Path, dict[str, Outcome]]) -> None:
    """Negative control: a backslash before it makes it part of the name."""
    folder = rows[0] / "references"
    trained = f"0_{datetime.now():%Y}_mlp"
    assert {path.name for path in (folder / "logs").iterdir()} == {trained, "${seed}", "digitss"}
    assert json.loads((folder / "evaluated" / "summary.json").read_text())["task"] == "evaluate"


def test_a_run_starts_from_the_weights_named(rows: tuple[Path, dict[str, Outcome]]) -> None:
    """init_from leaves its source as it was, and the steps begin anew."""
    folder = rows[0] / "odd"
    assert json.loads((folder / "from" / "summary.json").read_text())["train"]["steps"] == 6
    assert "is finished after" in rows[1]["resume"].out


def test_latest_is_the_newest_run_that_trains(rows: tuple[Path, dict[str, Outcome]]) -> None:
    folder = rows[0] / "latest"
    assert (folder / "outputs" / "latest").resolve() == folder / "second"
    evaluations = [path for path in folder.glob("outputs/*/*") if (path / "summary.json").is_file()]
    assert len(evaluations) == 1, "an evaluation has its own directory, and is not the latest"


def test_two_runs_never_get_one_directory(tmp_path: Path) -> None:
    """Twenty at once, in the same second: mkdir decides."""
    made: list[Path] = []
    threads = [
        threading.Thread(target=lambda: made.append(rundir.create(None, "cnn_digits", tmp_path))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 20
    assert all(path.is_dir() for path in made)


def test_names_of_directories_hold_no_equals_sign_and_no_space() -> None:
    assert rundir.plain_name("optimizer.lr=1e-3 x/y") == "optimizer.lr-1e-3-x-y"
    assert rundir.plain_name("../..") == "run"
