"""The second tier of checks, which needs torch, and the resolution of `auto`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from nnrun.assembly.adopted import adopted
from nnrun.assembly.capture import check_capture
from nnrun.assembly.data.batch_size import small_batch
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.instantiate import check_targets, said_by_class
from nnrun.assembly.job import Job
from nnrun.assembly.pretrained_input import sized_as_trained, trained_input
from nnrun.assembly.process import set_up_process
from nnrun.assembly.torch_loss import check_loss
from nnrun.assembly.transfer import open_pretrained
from nnrun.base.errors import Complaint, ConfigError, NnrunError
from nnrun.base.ranks import this_rank
from nnrun.checkpoints.saveable import unsaveable
from nnrun.checkpoints.saved_run import SavedNetwork, SavedWeights
from nnrun.checkpoints.trained_on import TrainedOn
from nnrun.config.auto import AUTO
from nnrun.config.composed import Composed
from nnrun.config.from_checkpoint import fault, saved_config
from nnrun.config.monitor import monitored
from nnrun.config.schema import RunSettings, from_mapping
from nnrun.core.device import choose_device, choose_precision, is_gpu

# The dimensions of one image: channels, rows and columns.
NUM_IMAGE_DIMS = 3


def prepare(composed: Composed) -> Job:
    """Run the checks that need torch, and set the process up for the job.

    Raises ConfigError, ArtifactError or ResourceError.
    """
    job = check_job(composed)
    if composed.task.builds_section("export"):
        for section in job.settings.export.values():
            if (check := said_by_class(section, "check_environment")) is not None:
                check(section)
    composed, notes = adopted(job.composed)
    if composed is not job.composed:
        job = check_job(composed)
    job = replace(job, notes=(*job.notes, *notes))
    sized = sized_as_trained(composed, job.trained_on)
    if sized is not composed:
        job = replace(job, composed=sized, settings=from_mapping(RunSettings, sized.resolved()))
    return replace(job, notes=(*job.notes, *set_up_process(job)))


@dataclass(frozen=True)
class _Checked:
    """A config whose targets were checked: its problems, and the weights that it starts from."""

    settings: RunSettings
    problems: Sequence[Complaint]
    pretrained: SavedWeights | None
    trained_on: TrainedOn | None


def _check_targets(composed: Composed, tree: Mapping[str, Any]) -> _Checked:
    """Run the checks that need torch but no device. Raises ArtifactError or ResourceError."""
    task, settings = composed.task, from_mapping(RunSettings, tree)
    problems: list[Complaint] = []
    pretrained: SavedWeights | None = None
    trained_on: TrainedOn | None = None
    try:
        check_targets(tree, sorted(composed.own_targets), settings.trust, task, _preprocessing_in(composed))
        problems += check_loss(tree["loss"], composed.rules.known.data_kinds)
    except ConfigError as error:
        problems += error.complaints
    if settings.ckpt is None and settings.resume is None:
        try:
            pretrained = open_pretrained(settings.transfer, tree["model"])
            trained_on = trained_input(tree["model"], settings.transfer.weights, pretrained)
        except ConfigError as error:
            problems += [complaint for complaint in error.complaints if complaint not in problems]
    if settings.data.batch_size == AUTO and task.reads("data.batch_size") and not task.trains:
        text = f"data.batch_size=auto is chosen by a training; give a number with task={task.name}"
        problems.append(Complaint("data.batch_size", text))
    if settings.resume is None and task.trains:
        problems += unsaveable(saved_config(tree))
    return _Checked(settings, problems, pretrained, trained_on)


def check_for_elsewhere(composed: Composed) -> None:
    """Run the checks that need torch, but for those of the device: the job runs on another machine.

    Raises ConfigError, ArtifactError or ResourceError.
    """
    if problems := _check_targets(composed, composed.resolved()).problems:
        raise fault(problems, composed.saved_in, composed.typed)


def check_job(composed: Composed) -> Job:
    """Run the checks that need torch (targets, device, precision) and return the job; nothing is changed.

    Raises ConfigError, ArtifactError or ResourceError.
    """
    task, tree = composed.task, composed.resolved()
    checked = _check_targets(composed, tree)
    settings, problems = checked.settings, checked.problems
    notes = [*composed.notes, *(composed.located.notes if composed.located and not task.retrains else ())]
    trainer = settings.trainer
    device_name, precision_name = trainer.device, trainer.precision
    if composed.located and not composed.named("trainer.device") and not _is_here(device_name):
        notes.append(f"the run used {device_name}, which this machine does not have; using trainer.device=auto")
        device_name, precision_name = "auto", "auto" if precision_name == "fp16" else precision_name
    try:
        device = choose_device(device_name)
        rank = this_rank()
        if rank.size > 1 and is_gpu(device) and ":" not in device_name:
            device = choose_device(f"{device.type}:{rank.device_index}")
        precision = choose_precision(precision_name, device)
        check_capture(composed, trainer.cuda_graph, device)
    except NnrunError as error:
        if problems:
            raise ConfigError(*problems, *error.complaints) from error
        raise
    if problems:
        raise fault(problems, composed.saved_in, composed.typed)
    if task.trains and trainer.epochs == 0:
        notes.append("trainer.epochs=0: the network is evaluated without training")
    notes += composed.notes_on_unread
    notes += composed.trial_notes
    saved = composed.source.config if composed.source and not task.trains else None
    monitor, mode = monitored(saved or tree, composed.rules.known.metrics)
    return Job(
        composed, settings, device, precision, monitor, mode, tuple(notes), checked.pretrained, checked.trained_on
    )


def for_data(job: Job, data: Opened) -> Job:
    """Return the job with each `auto`, and a default batch size, set from its data, which is now open.

    Changed settings are checked again. Raises ConfigError where given settings do not fit the data.
    """
    composed = job.composed.fitted((data.targets.kind, _kind_of_samples(data)))
    if job.task.reads("data.batch_size") and job.lowers_batch:
        batch_size = data.findings.facts.get("recommended_batch_size", job.settings.data.batch)
        if len(data.train) < batch_size:
            batch_size = small_batch(len(data.train))
        if batch_size != job.settings.data.batch:
            composed = composed.with_data(batch_size=batch_size)
    if composed is job.composed:
        return job
    return replace(check_job(composed), precision=job.precision, notes=job.notes)


def _kind_of_samples(data: Opened) -> str:
    """Return the kind of the samples of data: one of those that `model=auto` tells apart."""
    if "table" in data.facts:
        return "tables"
    if data.in_shape == (None,):
        return "texts"
    is_tensor = isinstance(data.in_shape, tuple) and all(isinstance(size, int) for size in data.in_shape)
    return "images" if is_tensor and len(data.in_shape) == NUM_IMAGE_DIMS else "other"


def _preprocessing_in(composed: Composed) -> Mapping[str, Any] | None:
    """Return the preprocessing of a checkpoint, if the task builds it; a training uses that of its data."""
    saved = composed.evaluated
    return saved.preprocessing if isinstance(saved, SavedNetwork) and not composed.task.trains else None


def _is_here(device: str) -> bool:
    """Return whether this machine has the device that a checkpoint was trained on."""
    kind, _, index = device.partition(":")
    if kind == "cuda":
        return torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count()
    return kind != "mps" or torch.backends.mps.is_available()
