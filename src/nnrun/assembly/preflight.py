"""The second tier of checks, which needs torch, and what `auto` becomes: all before data is read."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nnrun.assembly.allowed import SHIPPED_ROOTS, parameters_of, target_sections, targets_in
from nnrun.assembly.instantiate import build, check_targets
from nnrun.assembly.skeleton import check_small
from nnrun.assembly.transfer import check_transfer
from nnrun.base.errors import ConfigError, NnrunError, ResourceError
from nnrun.base.host import keep_freed_memory
from nnrun.checkpoints.read import peek
from nnrun.checkpoints.saveable import unsaveable
from nnrun.config.compose import Composed
from nnrun.config.conflicts import TASK_SECTIONS
from nnrun.config.from_checkpoint import fault, saved_config
from nnrun.config.no_effect import trial_notes
from nnrun.config.schema import DataSettings, RunSettings, from_mapping
from nnrun.config.validate import monitored
from nnrun.core.device import Precision, choose_device, choose_precision, kernels, set_deterministic, set_exact
from nnrun.runs.environment import environment

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


@dataclass(frozen=True)
class Job:
    """An invocation whose config is right on this machine."""

    composed: Composed
    settings: RunSettings
    task: str
    device: torch.device
    precision: Precision
    monitor: str
    mode: str
    notes: tuple[str, ...]

    @property
    def trains(self) -> bool:
        """Whether this invocation trains."""
        return self.task == "train"

    @property
    def name(self) -> str:
        """The network and the data, for the run directory: `cnn_digits`; of an exported network its file's name."""
        if self.composed.artifact is not None:
            return self.composed.artifact.name
        section = self.settings.model
        target = str(section["_target_"])
        is_named = target.startswith("nnrun.") and isinstance(section.get("name"), str)
        model = section["name"] if is_named else target.rpartition(".")[2].lower()
        return f"{model}_{self.settings.data.name}"

    def reading(self, preprocessing: Mapping[str, Any] | None = None) -> str:
        """Return what a command that reads this run's checkpoints must add, with a space before each word.

        That is ` trust=[mynet]` for classes of the user's own, and the folder of options that was named.
        """
        sections = [*target_sections(self.composed.resolved()).values(), preprocessing]
        targets = [target for section in sections for target in targets_in(section)]
        modules = {target.rpartition(".")[0] for target in targets if not target.startswith(SHIPPED_ROOTS)}
        words = [f"--config-dir={folder}" for folder in self.composed.own if folder != Path("conf").resolve()]
        words += [f"trust=[{','.join(sorted(modules))}]"] if modules else []
        return "".join(f" {shlex.quote(word)}" for word in words)

    @property
    def resume(self) -> Path | None:
        """The run directory that this invocation goes on in."""
        checkpoint = self.composed.checkpoint
        return checkpoint.run if checkpoint and self.settings.resume else None

    @property
    def data(self) -> DataSettings:
        """The data's settings. Into a folder that only a file names nothing is fetched: it may be a stranger's file."""
        settings, composed = self.settings.data, self.composed
        is_typed = composed.named("data.root") or composed.named("data.download")
        if composed.saved_in is None or is_typed or not str(settings.dataset["_target_"]).startswith("nnrun."):
            return settings
        stays = {"download": False} if "download" in settings.dataset else {}
        return replace(settings, download=False, dataset=settings.dataset | stays)

    def loss(self, class_counts: Sequence[int]) -> nn.Module:
        """Return the loss, built; `class_counts` are the training samples of each class."""
        if self.composed.saved_in is not None and "loss" not in self.composed.own_targets:
            check_small(self.settings.loss, "loss")
        return build(self.settings.loss, "loss", nn.Module, **self.counts_for_loss(class_counts))

    def counts_for_loss(self, class_counts: Sequence[int]) -> dict[str, Any]:
        """Return the class counts as a parameter, if the loss has one that its config leaves null.

        Raises ConfigError where its config gives them for another number of classes.
        """
        section = self.settings.loss
        given = section.get("class_counts")
        if "balanced" in section.values() and isinstance(given, list) and len(given) != len(class_counts):
            allowed = f"null, or a count for each of the {len(class_counts)} classes"
            raise ConfigError.of("loss.class_counts", given, allowed)
        is_open = section.get("class_counts") is None and "class_counts" in parameters_of(section["_target_"])
        return {"class_counts": list(class_counts)} if is_open else {}

    def environment(self) -> dict[str, Any]:
        """Return what environment.json holds."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return environment(torch.get_num_threads(), name, self.composed.secrets) | {"kernels": kernels()}

    def tree(
        self, in_shape: tuple[int, ...], num_classes: int, became: Mapping[str, Any] | None = None, **trainer: Any
    ) -> dict[str, Any]:
        """Return the config with everything filled in: the data's shape, and what each `auto` became.

        `became` has the settings of `data` that the samples decided.
        """
        tree = self.composed.resolved(in_shape, num_classes)
        for key, value in (became or {}).items():
            for section in (tree["data"], tree["data"]["dataset"]):
                if key in section:
                    section[key] = value
        tree["trainer"] |= {"device": str(self.device), "precision": self.precision.name, **trainer}
        return tree


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
