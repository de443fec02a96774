"""The study of a search as a file that Optuna's tools open: `optuna-dashboard SWEEP_DIR/study.journal`.

It is written and never read back: a search is brought back by what sweep.json has. Each change is one line, appended
and synced, so that the file is whole whenever the sweep is killed; a line that a power cut tore is removed.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nnrun.base.files import saving, sync_folder
from nnrun.config.yaml_files import value_of
from nnrun.sweeps.seams import JobState
from nnrun.sweeps.search.space import Interval, Space
from nnrun.sweeps.search.trial import Trial

NAME = "study.journal"
_STATES = {
    JobState.FINISHED: TrialState.COMPLETE,
    JobState.FAILED: TrialState.FAIL,
    JobState.PRUNED: TrialState.PRUNED,
}


class _OneWriter(JournalFileBackend):
    """Optuna's journal file without its lock, whose remains stop the next writer for half a minute.

    The lock of the sweep's folder keeps other writers out.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append all lines or none."""
        path = Path(self._file_path)
        size = path.stat().st_size
        try:
            with saving(path):
                super().append_logs(logs)
        except BaseException:
            os.truncate(path, size)  # a full disk takes a part of a line
            raise


class _NoLock:
    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class Journal:
    """Keep the trials of a search in the folder of its sweep as an Optuna study, which is named after the folder."""

    def __init__(self, space: Space, *, is_less_better: bool) -> None:
        self._space = space
        self._sign = 1.0 if is_less_better else -1.0
        self._direction = StudyDirection.MINIMIZE if is_less_better else StudyDirection.MAXIMIZE
        optuna.logging.set_verbosity(optuna.logging.ERROR)

    def open(self, folder: Path, trials: Sequence[Trial]) -> None:
        """Bring the file in a folder up to date with all trials; a file that says something else is replaced."""
        self._path = folder / NAME
        _drop_torn_line(self._path)
        try:
            self._connect(self._path)
            is_of_these = self._agrees(trials)
        except Exception:  # whatever another program may have written there
            is_of_these = False
        if not is_of_these:
            self._replace()
        for trial in trials:
            self.update(trial)

    def update(self, trial: Trial) -> None:
        """Append what is new of a trial."""
        there = self._storage.get_all_trials(self._study, deepcopy=False)
        if trial.number == len(there):
            self._storage.create_new_trial(self._study, self._frozen(trial))
            return
        old = there[trial.number]
        if old.state.is_finished():
            return
        for step, value in trial.reports.items():
            if old.intermediate_values.get(step) != self._sign * value:
                self._storage.set_trial_intermediate_value(old._trial_id, step, self._sign * value)
        if trial.state in _STATES:
            final = self._value(trial)
            values = None if final is None else [final]
            self._storage.set_trial_state_values(old._trial_id, _STATES[trial.state], values)

    def close(self, trials: Sequence[Trial]) -> None:
        """Append that the paused trials were pruned."""
        for trial in trials:
            if trial.state is JobState.PAUSED:
                self.update(replace(trial, state=JobState.PRUNED))

    def _connect(self, path: Path) -> None:
        """Open a file, with the study in it; make what is missing."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._storage = JournalStorage(_OneWriter(str(path), lock_obj=_NoLock()))  # type: ignore[arg-type]
        studies = self._storage.get_all_studies()
        name = path.absolute().parent.name
        self._study = studies[0]._study_id if studies else self._storage.create_new_study([self._direction], name)

    def _agrees(self, trials: Sequence[Trial]) -> bool:
        """Return whether the file says nothing that the trials do not: it may lack their last changes."""
        there = self._storage.get_all_trials(self._study, deepcopy=False)
        if self._storage.get_study_directions(self._study) != [self._direction] or len(there) > len(trials):
            return False
        return all(self._is_earlier(old, self._frozen(trial)) for old, trial in zip(there, trials, strict=False))

    def _is_earlier(self, old: FrozenTrial, new: FrozenTrial) -> bool:
        """Return whether a trial in the file may become the one that it should be."""
        if old.params != new.params or (old.state.is_finished() and (old.state, old.values) != (new.state, new.values)):
            return False
        return old.intermediate_values.items() <= new.intermediate_values.items()

    def _replace(self) -> None:
        """Begin the file again."""
        with saving(self._path):
            self._path.unlink(missing_ok=True)
            self._connect(self._path)
            sync_folder(self._path.parent)

    def _frozen(self, trial: Trial) -> FrozenTrial:
        """Return a trial with its values as typed."""
        distributions = {key: self._distribution(key) for key in trial.chosen}
        return create_trial(
            state=_STATES.get(trial.state, TrialState.RUNNING),
            value=self._value(trial),
            params={key: _typed(distributions[key], word) for key, word in trial.chosen.items()},
            distributions=distributions,
            intermediate_values={step: self._sign * value for step, value in trial.reports.items()},
        )

    def _value(self, trial: Trial) -> float | None:
        """Return the value of a trial: the final one, of a pruned one the last."""
        if trial.state is JobState.PRUNED and trial.reports:
            return self._sign * trial.last_value
        return None if trial.value is None else self._sign * trial.value

    def _distribution(self, key: str) -> BaseDistribution:
        """Return a dimension as people see it: with its words."""
        item = self._space[key]
        if isinstance(item, Interval):
            kind = IntDistribution if item.is_whole else FloatDistribution
            return kind(item.low, item.high, log=item.is_log)  # type: ignore[arg-type]
        return CategoricalDistribution([_plain(word) for word in item.words])


def _typed(distribution: BaseDistribution, word: str) -> Any:
    """Return the value of a word for a distribution."""
    return _plain(word) if isinstance(distribution, CategoricalDistribution) else value_of(word)


def _plain(word: str) -> Any:
    """Return a word as a plain value; a list stays text."""
    value = value_of(word)
    return value if isinstance(value, bool | int | float | str | None) else word


def _drop_torn_line(path: Path) -> None:
    """Remove what follows the last end of a line."""
    if path.is_file():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            with saving(path):
                os.truncate(path, content.rfind(b"\n") + 1)
