"""The second tier of checks, which needs torch, and what `auto` becomes: all before data is read."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nnrun.assembly.instantiate import check_targets
from nnrun.assembly.job import Job
from nnrun.assembly.transfer import check_transfer
from nnrun.base.errors import ConfigError, NnrunError, ResourceError
from nnrun.base.host import keep_freed_memory
from nnrun.checkpoints.read import peek
from nnrun.checkpoints.saveable import unsaveable
from nnrun.config.compose import Composed
from nnrun.config.conflicts import TASK_SECTIONS
from nnrun.config.from_checkpoint import fault, saved_config
from nnrun.config.no_effect import trial_notes
from nnrun.config.schema import RunSettings, from_mapping
from nnrun.config.validate import monitored
from nnrun.core.device import choose_device, choose_precision, set_deterministic, set_exact

# Sections, and settings, that an evaluation does not read.
_ONLY_FOR_TRAINING = (
    *("augment", "transfer", "optimizer", "scheduler", "early_stopping", "logger", "seed", "data.batch_size"),
    *("data.class_order", "data.dataset.mean", "data.dataset.std"),
    "trainer",
)
_FOR_EVALUATION_TOO = ("trainer.device", "trainer.channels_last", "trainer.deterministic", "trainer.progress")

# Likewise for a prediction,
_ONLY_FOR_DATA = ("data", "loss", *_ONLY_FOR_TRAINING)
_FOR_PREDICTION_TOO = ("data.eval_batch_size", "data.on_bad", "data.white", *_FOR_EVALUATION_TOO)
# and for an inspection.
_ONLY_FOR_RUNS: tuple[str, ...] = (
    "scheduler",
    "early_stopping",
    "export",
    "logger",
    "data.eval_batch_size",
    "transfer.unfreeze_epoch",
    "transfer.cache",
    "trainer",
)
_FOR_INSPECTION_TOO: tuple[str, ...] = tuple(
    f"trainer.{key}" for key in ("device", "precision", "channels_last", "deterministic", "ema_decay", "grad_clip_norm")
)


def prepare(composed: Composed) -> Job:
    """Check what needs torch: targets, the device, the precision.

    Raises ConfigError, ArtifactError or ResourceError.
    """
    tree = composed.resolved()
    settings = from_mapping(RunSettings, tree)
    problems: list[str] = []
    try:
        check_targets(tree, sorted(composed.own_targets), settings.trust)
    except ConfigError as error:
        problems += error.messages
    if settings.ckpt is None and settings.resume is None:
        try:
            check_transfer(settings.transfer, tree["model"])
        except ConfigError as error:
            problems += error.messages
    notes: list[str] = list(composed.checkpoint.notes) if composed.checkpoint else []
    if settings.resume is None and _task_of(settings) == "train":
        problems += unsaveable(saved_config(tree))
    trainer = settings.trainer
    device_name, precision_name = trainer.device, trainer.precision
    if composed.checkpoint and not composed.named("trainer.device") and not _is_here(device_name):
        notes.append(f"the run was on {device_name}, which is not here; trainer.device=auto")
        device_name, precision_name = "auto", "auto" if precision_name == "fp16" else precision_name
    if trainer.cuda_graph is True:
        problems.append("trainer.cuda_graph=true is not in this version; leave it at auto")
    try:
        device = choose_device(device_name)
        precision = choose_precision(precision_name, device)
    except NnrunError as error:
        if problems:
            raise ConfigError(*problems, *error.messages) from error
        raise
    if problems:
        raise fault(problems, composed.saved_in, composed.typed)
    if device.type == "cpu":
        keep_freed_memory()
        notes += (
            take_up_threads(peek(composed.checkpoint.path)["threads"])
            if settings.resume and composed.checkpoint
            else []
        )
    set_deterministic(trainer.deterministic)
    if device.type == "cuda":
        set_exact()
    task = _task_of(settings)
    if task == "train" and trainer.epochs == 0:
        notes.append("trainer.epochs=0: nothing is trained; the network is evaluated as it is")
    notes += _idle_notes(task, composed)
    notes += trial_notes(composed.typed, tree)
    saved = composed.source.saved if composed.source and task != "train" else None
    monitor, mode = monitored(saved or tree)
    return Job(composed, settings, task, device, precision, monitor, mode, tuple(notes))


def _task_of(settings: RunSettings) -> str:
    """Return what an invocation does; an evaluation that exports is called an export."""
    if settings.task in TASK_SECTIONS.values():
        return settings.task
    return "train" if settings.ckpt is None else "export" if settings.export else "evaluate"


def _idle_notes(task: str, composed: Composed) -> list[str]:
    """Return what is said of each setting of the command line that a task does not read."""
    if task == "train":
        return []
    if task == "inspect":
        unread, read, why = _ONLY_FOR_RUNS, _FOR_INSPECTION_TOO, "task=inspect: nothing is trained"
    elif task == "predict":
        unread = _ONLY_FOR_DATA if composed.artifact is None else ("model", *_ONLY_FOR_DATA)
        read, why = _FOR_PREDICTION_TOO, "task=predict"
    else:
        unread, read, why = _ONLY_FOR_TRAINING, _FOR_EVALUATION_TOO, "ckpt=: nothing is trained"
    if composed.weights_alone and composed.saved_in is None:
        # How samples are prepared is in no file then, and is the data's.
        read = (*read, "data.dataset.mean", "data.dataset.std")
    idle = [item.key for item in composed.typed if _is_idle(item.key, unread, read)]
    return [f"{key} has no effect with {why}" for key in idle]


def _is_idle(key: str, unread: Sequence[str], read: Sequence[str]) -> bool:
    """Return whether a setting is among those that are not read, in sections of which some may be."""
    return key not in read and any(key == name or key.startswith(name + ".") for name in unread)


def take_up_threads(threads: int) -> list[str]:
    """Use as many threads as the run that is resumed did: another number gives other bits. Return what is said of it.

    Raises ResourceError where that many cannot be had.
    """
    if threads == torch.get_num_threads():
        return []
    torch.set_num_threads(threads)
    if torch.get_num_threads() != threads:
        raise ResourceError(f"the run used {threads} threads, which this machine does not give")
    return [f"using {threads} threads, as the run did: another number would give other bits"]


def _is_here(device: str) -> bool:
    """Return whether this machine has the device that a checkpoint was trained on."""
    kind, _, index = device.partition(":")
    if kind == "cuda":
        return torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count()
    return kind != "mps" or torch.backends.mps.is_available()
