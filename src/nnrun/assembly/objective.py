"""Build what a network is trained for and judged by: its problem, its loss, and the metrics added to the problem's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.instantiate import build
from nnrun.assembly.job import Job
from nnrun.base.errors import ArtifactError, Complaint, ConfigError
from nnrun.base.targets import Targets
from nnrun.checkpoints.saved_run import SavedNetwork, SavedWeights
from nnrun.config.monitor import natural_mode, wrong_way
from nnrun.core.objective import Objective
from nnrun.core.seams.problem import Metric, Problem


def make_objective(job: Job, data: Opened) -> Objective:
    """Return the objective of a job on its data; what is fitted to targets comes from the checkpoint that it goes by.

    Raises ConfigError where the problem is not for what the data has to be learned.
    """
    saved = job.composed.resumed or job.composed.evaluated
    problem = make_problem(job, data.targets)
    if not load_problem(problem, saved) and len(data.train):
        problem.fit_targets(data.train.targets)
    metrics = {
        name: build(section, f"metric.{name}", Metric)  # type: ignore[type-abstract]
        for name, section in job.settings.metric.items()
    }
    return Objective(problem, job.loss(data.target_counts), metrics)


def watched_by(job: Job, objective: Objective) -> Job:
    """Return the job with the way of what is watched that is better, where only the built metric says it.

    Raises ConfigError where it does not, or where what was typed is the other way.
    """
    mode = natural_mode(job.monitor, objective.higher_is_better)
    if job.mode == "auto" == mode:
        text = f"early_stopping.mode must be min or max: {job.monitor} does not say whether more of it is better"
        raise ConfigError(Complaint("early_stopping.mode", text, ("early_stopping.monitor",)))
    if mode not in ("auto", job.mode) and job.mode != "auto":
        raise ConfigError(wrong_way(job.monitor, job.mode))
    return job if mode in ("auto", job.mode) else replace(job, mode=mode)


def make_problem(job: Job, targets: Targets) -> Problem:
    """Return the problem of a config, with nothing fitted."""
    section = job.settings.problem
    problem = build(section, "problem", Problem, targets)
    if problem.kind != targets.kind:
        name = section["_target_"].rpartition(".")[2]
        raise ConfigError(
            f"problem: {name} learns {problem.kind}, and data={job.settings.data.name} has {targets}; choose another "
            "problem, or other data"
        )
    return problem


def load_problem(problem: Problem, saved: SavedWeights | None) -> bool:
    """Let a problem take up what was fitted for a trained network, and return whether its file says that."""
    if not isinstance(saved, SavedNetwork) or saved.problem is None:
        return False
    load_fitted(problem, saved.problem, saved.path)
    return True


def load_fitted(problem: Problem, state: Mapping[str, Any], path: Path) -> None:
    """Let a problem take up what a file says that it was fitted to; raise ArtifactError where that is not for it."""
    try:
        problem.load_state_dict(state)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ArtifactError(f"{path}: what it says of its problem is not right: {error}") from error
