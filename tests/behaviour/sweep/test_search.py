"""`nnrun -m sweep=random` and the like: a search with pausing, from the command to its table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from nnrun.base.errors import ConfigError, InterruptedRun
from nnrun.config.yaml_files import read_saved_sections
from nnrun.sweeps.search.searching import Searcher
from nnrun.sweeps.sweep import sweep
from nnrun.tasks.rules import collect_rules
from support.command_line import write_files

SMALL = (
    *("data.limit=100", "trainer.epochs=3", "trainer.progress=false", "early_stopping=none", "export=none"),
    *("report=none", "sweep.parallel=1", "hydra.sweep.dir=s"),
)
SPACE = ("optimizer.lr=tag(log,interval(1e-4,1e-1))", "model=mlp,cnn", "model.grid=int(interval(8,32))")
ASHA = ("sweep=random", "sweep.trials=5", "sweep.prune=asha", *SPACE, *SMALL)


def table(folder: Path) -> list[dict[str, str]]:
    """The rows of sweep.csv, without what a stop changes: the time, and the place."""
    with (folder / "s" / "sweep.csv").open(newline="") as file:
        return [
            {key: v for key, v in row.items() if key not in ("seconds", "directory")} for row in csv.DictReader(file)
        ]


def run(words: list[str] | tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    sweep(list(words), [folder / "conf"] if (folder / "conf").exists() else [], collect_rules())
    return table(folder)


def test_a_search_pauses_and_takes_up_again_and_is_the_same_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(ASHA, tmp_path / "whole", monkeypatch)
    finished = [int(row["job"]) for row in whole if row["state"] == "finished"]
    assert [row["state"] for row in whole] == ["finished"] * len(finished) + ["pruned"] * (5 - len(finished))
    assert 1 <= len(finished) <= 3
    told = json.loads((tmp_path / "whole" / "s" / "sweep.json").read_text())["told"]
    reports = [number for kind, number, *_ in told if kind == "report"]
    assert len(reports) == 5 + 2 * len(finished)
    # One was paused after its first epoch, and went on when others had been tried.
    assert any(reports[reports.index(number) + 1] != number for number in finished)
    assert all((row["model"] == "cnn") == bool(row["model.grid"]) for row in whole)

    # What was asked of a job that was taken up again is what was asked of the others: `auto` is not what it became.
    configs = [read_saved_sections(path) for path in (tmp_path / "whole" / "s").glob("*_*/config.yaml")]
    assert {bool(config["resume"]) for config in configs} == {True, False}
    assert len({str(config["data"]) for config in configs}) == 1
    assert len({str(config["trainer"] | {"test": None}) for config in configs}) == 1

    report = Searcher.report
    for last in (1, 5):
        count, folder = iter(range(100)), tmp_path / str(last)

        def stop(self: Searcher, *values, count=count, last=last):
            if next(count) == last:
                raise KeyboardInterrupt  # after the checkpoint of the epoch, and before its validation is kept
            return report(self, *values)

        monkeypatch.setattr(Searcher, "report", stop)
        with pytest.raises(InterruptedRun, match="resume with: nnrun -m resume=s"):
            run(ASHA, folder, monkeypatch)
        assert table(folder) != whole
        monkeypatch.setattr(Searcher, "report", report)
        assert run(["resume=s"], folder, monkeypatch) == whole, last
        assert json.loads((folder / "s" / "sweep.json").read_text())["told"] == told, last


def test_a_longer_search_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["sweep=random", "sweep.trials=1", "optimizer.lr=interval(1e-3,1e-2)", "model=mlp", *SMALL]
    first = run(words, tmp_path / "longer", monkeypatch)
    assert [row["job"] for row in first] == ["0"]
    more = run(["resume=s", "sweep.trials=2"], tmp_path / "longer", monkeypatch)
    assert sorted(row["job"] for row in more) == ["0", "1"] and first[0] in more
    at_once = run(["sweep=random", "sweep.trials=2", *words[2:]], tmp_path / "once", monkeypatch)
    assert more == at_once


def test_the_minutes_of_a_search_are_those_of_all_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: with more minutes, the same search goes on."""
    words = ["sweep=random", "sweep.trials=1", "sweep.minutes=10", "seed=1,2,3", "model=mlp", *SMALL]
    run(words, tmp_path / "m", monkeypatch)
    file = tmp_path / "m" / "s" / "sweep.json"
    record = json.loads(file.read_text())
    assert 0 < record["seconds"] < 600
    file.write_text(json.dumps(record | {"seconds": 600}))
    assert len(run(["resume=s", "sweep.trials=2"], tmp_path / "m", monkeypatch)) == 1
    assert json.loads(file.read_text())["seconds"] > 600
    assert len(run(["resume=s", "sweep.trials=2", "sweep.minutes=20"], tmp_path / "m", monkeypatch)) == 2


def test_a_space_in_the_yaml_of_an_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """\
# @package _global_
# A search.
#   nnrun -m experiment=searched
defaults:
  - override /sweep: random
sweep:
  trials: 2
  space:
    optimizer.lr: tag(log,interval(1e-4,1e-1))
    model: mlp,cnn
    model.grid: int(interval(8,32))
"""
    write_files(tmp_path / "yaml", {"conf/experiment/searched.yaml": text})
    found = run(["experiment=searched", *SMALL], tmp_path / "yaml", monkeypatch)
    words = ["sweep=random", "sweep.trials=2", *SPACE, *SMALL]
    assert found == run(words, tmp_path / "typed", monkeypatch)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["optimizer.lr=interval(0.1,1)"], "is an interval, which a grid cannot list; search it with sweep=random"),
        (["sweep=random", "modle=a,b"], "cannot search over modle: there is no group modle; did you mean 'model'?"),
        (["sweep=random", "seed=1,2", "trainer.epochs=-3"], "trainer.epochs is -3"),
        (["sweep=random"], "a search needs settings to search"),
        (["sweep=random", "seed=1,2", "sweep.startup=3"], "sweep.startup has no effect here; choose sweep="),
        (["sweep=random", "seed=1,2", "sweep.prune=hyperband", "trainer.max_steps=9"], "needs the length of a job"),
        (["seed=1,2", "sweep.trials=3"], "sweep.trials has no effect here; choose sweep="),
        (
            ["seed=1,2", "sweep.parallel=1", "sweep.job_minutes=3"],
            "sweep.job_minutes has no effect with sweep.parallel=1",
        ),
    ],
)
def test_what_cannot_be_searched_is_said_before_anything_is_written(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        sweep(words, [], collect_rules())
    assert says in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.extras
@pytest.mark.parametrize("method", ["tpe", "gp", "cmaes"])
def test_a_model_based_search_leaves_a_study(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        f"sweep={method}",
        "sweep.trials=4",
        "sweep.startup=2",
        "sweep.prune=asha",
        *SPACE[:1],
        "model=mlp",
        *SMALL,
    ]
    found = run(words, tmp_path / "study", monkeypatch)
    import optuna
    from optuna.storages.journal import JournalFileBackend

    journal = tmp_path / "study" / "s" / "study.journal"
    (study,) = optuna.storages.JournalStorage(JournalFileBackend(str(journal))).get_all_studies()
    assert (study.study_name, study.direction.name) == ("s", "MINIMIZE")
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    trials = optuna.load_study(study_name="s", storage=storage).trials
    states = {"finished": "COMPLETE", "pruned": "PRUNED"}
    rows = sorted(found, key=lambda row: int(row["job"]))
    assert [trial.state.name for trial in trials] == [states[row["state"]] for row in rows]
    assert [trial.params["optimizer.lr"] for trial in trials] == [float(row["optimizer.lr"]) for row in rows]


def test_without_the_extra_a_model_based_search_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnrun.base.errors import ResourceError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nnrun.base.foreign_errors.find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"sweep=tpe needs the package optuna.*pip install 'nnrun\[sweep\]'"):
        sweep(["sweep=tpe", "seed=1,2"], [], collect_rules())
    assert list(tmp_path.iterdir()) == []
