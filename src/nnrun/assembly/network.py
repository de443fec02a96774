"""Load a network from a checkpoint, for ckpt= and for the best weights of a training, and evaluate it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnrun.assembly.allowed import check_trust
from nnrun.assembly.data.opened import Opened, head
from nnrun.assembly.instantiate import build
from nnrun.assembly.job import Job
from nnrun.assembly.objective import watching_head
from nnrun.assembly.skeleton import build_network
from nnrun.base.errors import ConfigError, DataError
from nnrun.base.foreign_errors import of_the_machine
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.checkpoints.folder import load_weights
from nnrun.checkpoints.foreign_weights import weights_for
from nnrun.checkpoints.saved_run import SavedNetwork, SavedRun, SavedWeights
from nnrun.config.from_checkpoint import fault
from nnrun.config.interpolation import plain_shapes
from nnrun.config.overrides import Typed
from nnrun.core.batches import SplitBatches
from nnrun.core.device import Precision, choose_channels_last
from nnrun.core.evaluate import KeptOutputs, evaluate
from nnrun.core.named_inputs import taking_names
from nnrun.core.objective import Objective
from nnrun.core.residency import Layout, choose_residency, samples_at
from nnrun.core.seams.data import Preprocessing, Split, Tree
from nnrun.core.seams.problem import Sums


@dataclass(frozen=True)
class Trained:
    """A trained network on the CPU, the progress of its training, if known, and its preprocessing."""

    network: nn.Module
    progress: Mapping[str, Any] | None
    preprocessing: Preprocessing
    notes: tuple[str, ...] = ()
    # The fitted state of its problem; None if its file has none.
    problem: Mapping[str, Any] | None = None
    # The sums of its validation, if the training that has just ended computed them with exactly these weights.
    validated: Sums | None = None


@dataclass(frozen=True)
class Measured:
    """The metrics of the validation and test splits by full name, and by split the problem's further report.

    `test_outputs` are the network's outputs on the test split, one row per sample in order, in fp32 on the host; None
    if they are too large to keep. `problem.predictions(problem.scores(outputs))` turns them into predictions.
    `test_losses` are the losses of the test samples, `(N,)`.
    """

    metrics: dict[str, float]
    details: dict[str, dict[str, Any]]
    test_outputs: Tensor | None = None
    test_losses: Tensor | None = None


def load_trained(job: Job, data: Opened, saved: SavedWeights) -> Trained:
    """Return the network whose weights a file holds: that of `ckpt=`, or the best of the run that was just trained.

    The preprocessing comes from the file or its model card, otherwise from the data.
    """
    preprocessing, progress, problem = data.preprocessing, None, None
    if isinstance(saved, SavedNetwork):
        _check_targets(saved.targets, job, data)
        problem = saved.problem
        if not job.trains:
            preprocessing = preprocessing_of(saved.preprocessing, job.settings.trust)
    network = network_of(job, data.known, saved)
    weights, notes = weights_for(network, saved)
    load_weights(network, weights, saved.path)
    if isinstance(saved, SavedRun):
        progress = saved.progress
        _check_shape(network, preprocessing, saved.config["data"].get("in_shape"), job, data)
    saved.file.close()
    return Trained(network, progress, preprocessing, tuple(notes), problem)


def shapes_in(plain: Any) -> Tree:
    """Return the shape of a sample, or a tree of shapes, from a config; None if it is none. A size of None is any."""
    if isinstance(plain, list) and all(size is None or (type(size) is int and size > 0) for size in plain):
        return tuple(plain)
    if isinstance(plain, list):
        shapes = tuple(map(shapes_in, plain))
        return None if None in shapes else shapes
    if isinstance(plain, Mapping):
        named = {name: shapes_in(part) for name, part in plain.items()}
        return None if None in named.values() else named
    return None


def network_of(job: Job, known: Mapping[str, Any], saved: SavedWeights) -> nn.Module:
    """Return the network of the config, in eval mode; if only a file names it, it must fit the weights in the file."""
    section = job.tree(known)["model"]
    is_own = job.trains or job.composed.saved_in is None or "model" in job.composed.own_targets
    return built(section, saved, job.composed.saved_in, is_own=is_own, typed=job.composed.typed)


def built(
    section: Mapping[str, Any],
    saved: SavedWeights,
    saved_in: Path | None,
    *,
    is_own: bool,
    typed: Sequence[Typed] = (),
) -> nn.Module:
    """Return the network of a section, in eval mode; `saved_in` is the file that the section comes from, if any."""
    try:
        network = build(section, "model", nn.Module) if is_own else build_network(section, saved.weights, saved.path)
        return taking_names(network).eval()
    except ConfigError as error:
        raise fault(error.complaints, saved_in, typed) from error


def _check_targets(theirs: Targets, job: Job, data: Opened) -> None:
    """Raise DataError unless the data has the targets that a network was trained on."""
    ours = data.targets
    if theirs != ours:
        raise DataError(
            f"the checkpoint was trained on {theirs} ({few(theirs.names)}), but data={job.settings.data.name} "
            f"has {ours} ({few(ours.names)}); use data with the same {theirs.kind}"
        )


def _check_shape(network: nn.Module, preprocessing: Preprocessing, trained_on: Any, job: Job, data: Opened) -> None:
    """Raise DataError where the data has samples of another shape than the training's, and the network rejects it.

    A network with global pooling takes images of any size.
    """
    if trained_on is None or trained_on == plain_shapes(data.in_shape):
        return
    try:
        with torch.inference_mode():
            network(preprocessing(head(data.test, 1)))
    except Exception as error:
        if of_the_machine(error):
            raise
        theirs, ours = ("x".join(map(str, shape)) for shape in (trained_on, data.in_shape))
        raise DataError(
            f"the network was trained on samples of {theirs} and does not take those of data={job.settings.data.name}, "
            f"{ours}; set data.image_size= and data.channels= to match"
        ) from error


def read_by(network: nn.Module, preprocessing: Preprocessing) -> Preprocessing:
    """Return a preprocessing that makes the inputs which a network reads, if it says which, without the others."""
    names, reading = getattr(network, "reads_inputs", None), getattr(preprocessing, "reading", None)
    return preprocessing if names is None or reading is None else reading(names)


def measure(job: Job, trained: Trained, data: Opened, objective: Objective, poll: Callable[[], None]) -> Measured:
    """Evaluate a trained network on the test split, and on the validation split unless that is known.

    A training with trainer.test=false does not touch the test split.
    """
    splits = {"valid": data.valid, "test": data.test}
    if job.trains and not job.settings.trainer.test:
        del splits["test"]
    network, channels_last = to_device(trained.network, job.device, job.settings.trainer.channels_last, job.precision)
    residency = choose_residency(job.settings.data.residency, data.num_bytes, job.device)
    layout = Layout(job.device, channels_last, residency, job.settings.data.num_workers)
    metrics: dict[str, float] = {}
    details: dict[str, dict[str, Any]] = {}
    kept = KeptOutputs()

    preprocessing = read_by(network, trained.preprocessing)

    def evaluated(split: Split, keeping: KeptOutputs | None) -> Sums:
        batches = SplitBatches(samples_at(split, layout), preprocessing, job.settings.data.eval_batch_size)
        with watching_head(job, objective, network, data.targets):
            return evaluate(network, objective, batches, poll, keeping)

    for name, split in splits.items():
        if split is not None:
            known, keeping = (trained.validated, None) if name == "valid" else (None, kept)
            sums = known or evaluated(split, keeping)
            if trained.problem is None and name == "valid":
                objective.problem.fit_validation(sums)
            metrics |= {f"{name}/{key}": value for key, value in objective.eval_metric.compute(sums).items()}
            baseline = objective.problem.baseline(data.train.targets, split.targets)
            details[name] = {"baseline": baseline, **objective.problem.report(sums)}
    return Measured(metrics, details, kept.on_host(), kept.losses_on_host())


def to_device(
    network: nn.Module, device: torch.device, channels_last: str | bool, precision: Precision
) -> tuple[nn.Module, bool]:
    """Return a network on a device, and whether its images should be channels-last."""
    network = network.to(device)
    channels_last = choose_channels_last(channels_last, network, device, precision)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, channels_last


def preprocessing_of(plain: Mapping[str, Any], trust: Sequence[str]) -> Preprocessing:
    """Return the preprocessing that a checkpoint describes."""
    check_trust({"preprocessing": plain}, trust)
    return build(plain, "preprocessing", Preprocessing)  # type: ignore[type-abstract]
