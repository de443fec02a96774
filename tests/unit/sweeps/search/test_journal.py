"""The study on disk: Optuna opens it after each event, whatever was cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.base.errors import ResourceError
from nnrun.sweeps.search.draws import RandomDraws
from nnrun.sweeps.search.prune import make_pruner
from nnrun.sweeps.search.searching import Aim, Searcher
from nnrun.sweeps.search.space import Choice, Condition, Interval, Space

pytestmark = pytest.mark.extras

SPACE = Space(
    (
        Interval("optimizer.lr", 1e-5, 1e-1, is_log=True),
        Choice("model", ("mlp", "cnn")),
        Choice("model.channels", ("[8,16]", "[32,64]")),
        Choice("data.batch_size", ("32", "64"), is_ordered=True),
    ),
    {"model.channels": Condition("model", frozenset({"cnn"}))},
)


def searcher(folder: Path, events: list[list[object]] = ()) -> Searcher:  # type: ignore[assignment]
    from nnrun.sweeps.search.journal import Journal

    aim, journal = Aim(is_less_better=False, trials=50, epochs=9), Journal(SPACE, is_less_better=False)
    search = Searcher(SPACE, RandomDraws(SPACE, 0), make_pruner("asha", 9), aim, journal)
    search.recall(events)
    search.keep_in(folder)
    return search


def opened(folder: Path) -> list[tuple[object, ...]]:
    """The trials as Optuna's own reader has them."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    study = optuna.load_study(study_name=None, storage=storage)
    assert study.direction.name == "MAXIMIZE"
    return [(trial.params, trial.state.name, trial.value, trial.intermediate_values) for trial in study.trials]


def expected(search: Searcher) -> list[tuple[object, ...]]:
    names = {"running": "RUNNING", "paused": "RUNNING", "finished": "COMPLETE", "failed": "FAIL"}
    return [
        (
            {key: word if "[" in word or key == "model" else json.loads(word) for key, word in trial.chosen.items()},
            names[trial.state],
            None if trial.value is None else -trial.value,
            {step: -value for step, value in trial.reports.items()},
        )
        for trial in search.trials
    ]


def drive(search: Searcher, folder: Path, rounds: range, *, is_checked: bool = True) -> None:
    for number in rounds:
        events = [("ask",), *[("report", number, epoch, number / 100) for epoch in range(1, 4)]]
        for name, *values in [*events, ("tell", number, None if number == 1 else number / 10)]:
            getattr(search, str(name))(*values)
            if is_checked:
                assert opened(folder) == expected(search)


def test_the_study_is_whole_after_each_event_and_after_a_resume(tmp_path: Path) -> None:
    search = searcher(tmp_path)
    drive(search, tmp_path, range(4))
    before = (tmp_path / "study.journal").read_bytes()
    again = searcher(tmp_path, search.events)
    # Nothing of it is written anew, and nothing else is left in the folder.
    assert (tmp_path / "study.journal").read_bytes() == before
    drive(again, tmp_path, range(4, 6))
    assert [path.name for path in tmp_path.iterdir()] == ["study.journal"]


@pytest.mark.parametrize("kept", [0, 1, 150, -1, -30, -400])
def test_a_file_that_was_cut_off_is_completed(tmp_path: Path, kept: int) -> None:
    search = searcher(tmp_path)
    drive(search, tmp_path, range(3), is_checked=False)
    path = tmp_path / "study.journal"
    path.write_bytes(path.read_bytes()[:kept])
    again = searcher(tmp_path, search.events)
    assert opened(tmp_path) == expected(search)
    drive(again, tmp_path, range(3, 4))


@pytest.mark.parametrize("content", [b"not a journal\n", b'{"op_code": 99, "worker_id": "x"}\n', b'{"op_code":'])
def test_a_file_of_another_kind_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "study.journal").write_bytes(content)
    search = searcher(tmp_path)
    drive(search, tmp_path, range(2))


def test_a_file_that_is_ahead_of_the_sweep_is_replaced(tmp_path: Path) -> None:
    """The journal had an event that sweep.json did not: the sweep counts."""
    search = searcher(tmp_path)
    drive(search, tmp_path, range(3), is_checked=False)
    again = searcher(tmp_path, search.events[:-3])
    assert opened(tmp_path) == expected(again)
    drive(again, tmp_path, range(3, 4))


def test_a_full_disk_leaves_whole_lines_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = searcher(tmp_path)
    drive(search, tmp_path, range(2), is_checked=False)
    before = (tmp_path / "study.journal").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResourceError, match=r"cannot write .*study\.journal"):
        search.ask()
    assert (tmp_path / "study.journal").read_bytes() == before
    monkeypatch.undo()
    assert len(opened(tmp_path)) == 2


def test_what_is_still_paused_at_the_end_was_pruned_and_may_go_on_in_a_longer_search(tmp_path: Path) -> None:
    search = searcher(tmp_path)
    for number in range(4):
        search.ask()
        search.report(number, 1, number / 10)
    search.give_up()
    ends = [("PRUNED", 0.0), ("PRUNED", 0.1), ("RUNNING", None), ("RUNNING", None)]
    assert [row[1:3] for row in opened(tmp_path)] == ends
    again = searcher(tmp_path, search.events)
    assert opened(tmp_path) == expected(again)
    drive(again, tmp_path, range(4, 5))
