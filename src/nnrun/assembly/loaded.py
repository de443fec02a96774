"""Load a trained network with everything that a prediction needs, from its file alone: no data is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nnrun.assembly.allowed import SHIPPED_ROOTS, check_trust
from nnrun.assembly.instantiate import build
from nnrun.assembly.job import Job
from nnrun.assembly.network import built, network_of, preprocessing_of, shapes_in
from nnrun.assembly.objective import load_problem, make_problem
from nnrun.base.errors import ArtifactError, ConfigError
from nnrun.base.paths import expanded
from nnrun.base.secrets import left_out
from nnrun.checkpoints.folder import load_weights
from nnrun.checkpoints.saved_run import SavedNetwork, SavedWeights
from nnrun.checkpoints.tensors import read_tensors
from nnrun.components.data.conversion import Conversion
from nnrun.components.data.image_form import conversion_of
from nnrun.config.from_checkpoint import fault
from nnrun.config.interpolation import known_late
from nnrun.config.source import open_saved
from nnrun.core.outputs import SCORES, parted
from nnrun.core.seams.data import Preprocessing, Tree
from nnrun.core.seams.problem import Problem


@dataclass(frozen=True)
class Loaded:
    """A trained network on the CPU, in eval mode; `in_shape` is the shape of a sample, or a tree of shapes."""

    network: nn.Module
    preprocessing: Preprocessing
    problem: Problem
    in_shape: Tree
    # How its training read image files, except for their size and channels.
    conversion: Conversion
    # The title of the column of images in its data, where it was set.
    image: str | None = None


def load_for(job: Job, saved: SavedNetwork) -> Loaded:
    """Return the network that `ckpt=` names; its class may come from the command line."""
    in_shape = _in_shape(saved)
    facts = saved.config["data"].get("facts")
    network = network_of(job, known_late(saved.config["data"]["in_shape"], saved.targets, facts), saved)
    load_weights(network, read_tensors(saved.file, saved.weights), saved.path)
    problem = make_problem(job, saved.targets)
    load_problem(problem, saved)
    preprocessing = preprocessing_of(saved.preprocessing, job.settings.trust)
    data = asdict(job.settings.data)
    return Loaded(network, preprocessing, problem, in_shape, conversion_of(data), data["image"])


def load_alone(saved: SavedWeights, trust: Sequence[str]) -> Loaded:
    """Return the network of a file, with the class that the file names: nnrun's, or one of the modules in `trust`."""
    saved = _with_network(saved)
    _check_trust(saved, trust)
    network, problem = _network_in(saved), _problem_in(saved)
    preprocessing = preprocessing_of(saved.preprocessing, trust)
    data = saved.config["data"]
    return Loaded(network, preprocessing, problem, _in_shape(saved), conversion_of(data), data.get("image"))


def load_network(path: Path, trust: Sequence[str]) -> nn.Module:
    """Return the trained network of a run directory, a checkpoint file or exported weights; see nnrun.load."""
    saved = _with_network(open_saved(expanded(path)))
    _check_trust(saved, trust)
    network, problem = _network_in(saved), _problem_in(saved)
    if problem.kind == "values":
        network.register_forward_hook(_InUnits(problem))
    # Plain attributes: a module among them would add keys to the state dict.
    attributes: Any = network
    attributes.targets, attributes.class_names = saved.targets, saved.targets.names
    attributes.preprocessing = preprocessing_of(saved.preprocessing, trust)
    thresholds = getattr(problem, "thresholds", None)
    if thresholds is not None:
        attributes.thresholds = tuple(thresholds.tolist())
    return network


class _InUnits:
    """Convert a network's outputs back to the data's units, as a forward hook."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def __call__(self, _network: nn.Module, _inputs: Any, outputs: Any) -> Any:
        scores, features = parted(outputs)
        scores = self._problem.scores(scores)
        if features is None:
            return scores
        return {**outputs, SCORES: scores} if isinstance(outputs, Mapping) else (scores, features)


def _with_network(saved: SavedWeights) -> SavedNetwork:
    """Return a file's record of its network; raise ArtifactError where it has none."""
    if not isinstance(saved, SavedNetwork):
        raise ArtifactError(f"{saved.path} is not a checkpoint of nnrun but weights alone; build the network yourself")
    return saved


def _check_trust(saved: SavedNetwork, trust: Sequence[str]) -> None:
    """Raise ArtifactError unless a file may name all the classes that are built from it."""
    named = {"model": saved.config["model"], "problem": saved.config["problem"], "preprocessing": saved.preprocessing}
    check_trust(named, trust)


def _network_in(saved: SavedNetwork) -> nn.Module:
    """Return the network that a file's own config names, with its weights."""
    section = saved.config["model"]
    if secrets := left_out(section, "model"):
        raise ConfigError(
            f"{', '.join(secrets)}: a secret, which is not saved in checkpoints; build the network yourself and load "
            "torch.load(path, weights_only=True)['model'] into it"
        )
    is_trusted = not str(section.get("_target_")).startswith(SHIPPED_ROOTS)
    with torch.random.fork_rng(devices=[]):  # the random initialization must not change the program's generator
        network = built(section, saved, saved.path, is_own=is_trusted)
    load_weights(network, read_tensors(saved.file, saved.weights), saved.path)
    return network


def _problem_in(saved: SavedNetwork) -> Problem:
    """Return the problem that a file's own config names, with the file's fitted state."""
    section = saved.config["problem"]
    try:
        problem = build(section, "problem", Problem, saved.targets)
    except ConfigError as error:
        raise fault(error.complaints, saved.path, ()) from error
    if problem.kind != saved.targets.kind:
        raise ArtifactError(f"{saved.path}: its problem is for {problem.kind}, but it was trained on {saved.targets}")
    load_problem(problem, saved)
    return problem


def _in_shape(saved: SavedNetwork) -> Tree:
    """Return the shape of a sample, or a tree of shapes; raise ArtifactError where the file does not state it."""
    plain = saved.config["data"].get("in_shape")
    shapes = shapes_in(plain)
    if shapes is None:
        raise ArtifactError(f"{saved.path} is not a checkpoint of nnrun: its data.in_shape is {plain!r}")
    return shapes
