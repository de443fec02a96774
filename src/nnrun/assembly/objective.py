"""Build the objective of a network: its problem, its loss, and the metrics added to the problem's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from nnrun.assembly.allowed import import_target, parameters_of
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.instantiate import build
from nnrun.assembly.job import Job
from nnrun.assembly.kinds import is_adapted
from nnrun.assembly.skeleton import check_small
from nnrun.assembly.torch_loss import Kinds, build_torch_loss, is_of_torch, unreduced
from nnrun.assembly.torchmetric import TorchMetric
from nnrun.base.errors import ArtifactError, Complaint, ConfigError
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.checkpoints.saved_run import SavedNetwork, SavedWeights
from nnrun.config.monitor import PREFIX, natural_mode, wrong_way
from nnrun.core.objective import Objective
from nnrun.core.seams.problem import Metric, Problem


def make_objective(job: Job, data: Opened) -> Objective:
    """Return the objective of a job on its data; fitted state comes from the job's checkpoint, if it has one.

    Raises ConfigError where the problem does not fit the targets of the data.
    """
    tree = job.tree(data.known, data.became)
    problem, notes = make_problem(job, data.targets), list[str]()
    if not load_problem(problem, job.composed.resumed or job.composed.evaluated) and len(data.train):
        notes = problem.fit_targets(data.train.targets) or []  # a custom problem may return None
    if data.valid is None and problem.without_validation:
        notes.append(problem.without_validation)
    for name, section in {"loss": tree["loss"], **_metrics(tree)}.items():
        if job.composed.saved_in is not None and name.partition(".")[0] not in job.composed.own_targets:
            check_small(section, name)
    loss = _loss(tree["loss"], data, job.composed.rules.known.data_kinds)
    if trained := [name for name, parameter in loss.named_parameters() if parameter.requires_grad]:
        raise ConfigError(
            f"loss: {tree['loss']['_target_']} has trainable parameters ({few(trained)}), which no optimizer updates "
            "and no checkpoint holds; compute them from the batch, or register them as constant buffers"
        )
    metrics = {name.partition(".")[2]: _metric(section, name, data.targets) for name, section in _metrics(tree).items()}
    return Objective(problem, loss.to(job.device), metrics, notes)


def _loss(section: Mapping[str, Any], data: Opened, known: Kinds) -> nn.Module:
    """Return the loss of a section; a loss of torch's is wrapped as one of nnrun's."""
    found = import_target("loss", section["_target_"])
    if is_of_torch(found):
        return build_torch_loss(section, found, data.targets, known)
    return unreduced(build(section, "loss", nn.Module, **counts_for_loss(section, data)), section)


def counts_for_loss(section: Mapping[str, Any], data: Opened) -> dict[str, Any]:
    """Return the training samples of each class or label, for the parameters that a loss's config leaves null.

    Raises ConfigError where its config has them for another number of classes or labels.
    """
    counts, kind = data.target_counts, data.targets.kind
    known: dict[str, Any] = {}
    if kind == "classes":
        known = {"class_counts": counts}
    elif kind == "labels":
        known = {"label_counts": counts, "num_samples": len(data.train)}
    for name, value in known.items():
        given = section.get(name)
        if "balanced" in section.values() and isinstance(given, list) and len(given) != len(value):
            allowed = f"null, or a count for each of the {len(counts)} {kind}"
            raise ConfigError.of(f"loss.{name}", given, allowed)
    taken = parameters_of(section["_target_"])
    return {name: value for name, value in known.items() if name in taken and section.get(name) is None}


def _metrics(tree: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the sections of the metrics that a config adds, by their full names."""
    return {f"metric.{name}": section for name, section in tree["metric"].items()}


def _metric(section: Mapping[str, Any], name: str, targets: Targets) -> Metric:
    """Build a metric; one of torchmetrics is wrapped as one of nnrun's."""
    if is_adapted(import_target(name, section["_target_"]), "metric"):
        return TorchMetric(build(section, name, nn.Module), name.partition(".")[2], targets)
    return build(section, name, Metric)  # type: ignore[type-abstract]


@contextmanager
def watching_head(job: Job, objective: Objective, network: nn.Module, targets: Targets) -> Iterator[None]:
    """Pass the features of a network to a loss within the block."""
    handle = objective.loss.watch(network, targets.num_outputs, job.settings.transfer.head)
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()


def watched_by(job: Job, objective: Objective) -> Job:
    """Return the job with its mode, min or max, if only the built metric knows which is better.

    Raises ConfigError where the metric does not state it, or where the config asks for the opposite.
    """
    mode = natural_mode(job.monitor, objective.higher_is_better)
    if job.mode == "auto" == mode:
        known = ", ".join(PREFIX + name for name in objective.higher_is_better)
        text = (
            f"early_stopping.mode must be min or max: it is unknown whether a higher {job.monitor} is better; known "
            f"metrics: {known}"
        )
        raise ConfigError(Complaint("early_stopping.mode", text, ("early_stopping.monitor",)))
    if mode not in ("auto", job.mode) and job.mode != "auto":
        raise ConfigError(wrong_way(job.monitor, job.mode))
    return job if mode in ("auto", job.mode) else replace(job, mode=mode)


def make_problem(job: Job, targets: Targets) -> Problem:
    """Return the problem of a config, not fitted."""
    section = job.settings.problem
    problem = build(section, "problem", Problem, targets)
    if lacks := [name for name in ("kind", "headline", "train_metric", "eval_metric") if not hasattr(problem, name)]:
        raise ConfigError(f"problem: {section['_target_']} lacks {', '.join(lacks)}, which every Problem must set")
    _check_score(problem, section["_target_"])
    if problem.kind != targets.kind:
        name = section["_target_"].rpartition(".")[2]
        raise ConfigError(
            f"problem: {name} is for {problem.kind}, but data={job.settings.data.name} has {targets}; choose another "
            "problem or other data"
        )
    return problem


def _check_score(problem: Problem, target: str) -> None:
    """Raise ConfigError where a problem's main metric is not the one that its `score` computes.

    Its verification would report one metric under the name of the other.
    """
    written_for = next(cls for cls in type(problem).__mro__ if "score" in vars(cls))
    inherited = getattr(written_for, "headline", problem.headline)
    if problem.headline != inherited:
        raise ConfigError(
            f"problem: the main metric of {target} is {problem.headline}, but its score() is that of "
            f"{written_for.__name__}, which computes {inherited}; override score()"
        )


def load_problem(problem: Problem, saved: SavedWeights | None) -> bool:
    """Restore a problem's fitted state from the file of a trained network; return whether the file has it."""
    if not isinstance(saved, SavedNetwork) or saved.problem is None:
        return False
    load_fitted(problem, saved.problem, saved.path)
    return True


def load_fitted(problem: Problem, state: Mapping[str, Any], path: Path) -> None:
    """Restore a problem's fitted state from a file; raise ArtifactError where it does not fit the problem."""
    try:
        problem.load_state_dict(state)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ArtifactError(f"{path}: the state of its problem is invalid: {error}") from error
