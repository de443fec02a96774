"""The sections of the config that nnrun owns, as types. The values are in conf/: nothing has a second default here."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, get_type_hints

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Nonfinite = Literal["stop", "skip"]
SplitBy = Literal["content", "position"]
Residency = Literal["auto", "device", "memory", "stream"]
# A value that `auto` leaves to nnrun: the value chosen is saved.
Switch = Literal["auto"] | bool

# Sections that are built from their `_target_`; those of NAMED_SECTIONS hold several, by name.
TARGET_SECTIONS = ("model", "problem", "loss", "optimizer", "scheduler", "data.dataset")
NAMED_SECTIONS = ("metric", "augment", "callback", "export", "logger")
OPTIONAL_SECTIONS = ("tokenizer", "scheduler", "early_stopping", "report", *NAMED_SECTIONS)

# Settings of `data` that only some data sets take, with their defaults.
TAKEN_BY_SOME = {
    "image_size": "auto",
    "channels": None,
    "on_bad": "error",
    "white": "auto",
    "resize": "crop",
    "targets": "auto",
    "labels": None,
    "target": None,
    "group": None,
    "time": None,
    "image": None,
    "columns": None,
    "drop": None,
    "text": None,
    "max_length": None,
}
# Those that a map-style data set of torch's kind takes: nnrun reads its samples.
TAKEN_BY_MAP_STYLE = ("image_size", "channels", "on_bad", "white", "resize", "targets")


@dataclass(frozen=True)
class DataSettings:
    """The data set, and how it is split and batched."""

    name: str
    root: str
    batch_size: Literal["auto"] | int
    eval_batch_size: int
    val_fraction: float
    split_seed: int
    num_folds: int | None
    fold: int
    split_by: SplitBy
    limit: int | None
    num_workers: int
    residency: Residency
    download: bool
    image_size: Literal["auto"] | int | list[int] | None
    resize: Literal["crop", "pad", "stretch"]
    jpeg_draft: bool
    channels: Literal[1, 3] | None
    on_bad: Literal["error", "skip"]
    white: Literal["auto"] | float | None
    class_order: Literal["natural", "text"]
    targets: Literal["auto", "classes", "labels", "values"]
    labels: str | dict[str, str] | None
    target: str | list[str] | None
    group: str | None
    time: str | None
    image: str | None
    columns: dict[str, str] | None
    drop: list[str] | None
    text: str | None
    max_length: int | None
    in_shape: list[Any] | dict[str, Any] | None
    num_outputs: int | None
    num_classes: int | None
    facts: dict[str, Any] | None
    dataset: dict[str, Any]

    @property
    def batch(self) -> int:
        """The number of samples in a batch, of a config whose `auto` became a number."""
        assert isinstance(self.batch_size, int)
        return self.batch_size


@dataclass(frozen=True)
class TokenizerSettings:
    """How texts become tokens."""

    kind: Literal["words", "chars", "bpe", "wordpiece", "unigram", "file"]
    vocab_size: int
    min_frequency: int
    lowercase: bool
    file: str | None
    padding: int | None


@dataclass(frozen=True)
class TrainerSettings:
    """The training: device, precision, length, saving, logging."""

    device: str
    devices: Literal["auto"] | int
    strategy: Literal["auto", "ddp", "fsdp"]
    precision: Precision
    epochs: int
    test: bool
    max_steps: int | None
    max_minutes: float | None
    accumulate: int
    grad_clip_norm: float | None
    ema_decay: float | None
    nonfinite: Nonfinite
    max_nonfinite: int
    compile: Switch
    cuda_graph: Switch
    recompute: bool | str | list[str]
    channels_last: Switch
    deterministic: bool
    threads: Literal["auto"] | int
    validate_every_steps: int | None
    checkpoint_every_steps: int | None
    keep_last: int
    log_every_steps: int
    watch: str | list[str]
    watch_every_steps: int
    profile: bool
    progress: Switch
    sync_batchnorm: bool
    max_restarts: int


@dataclass(frozen=True)
class TransferSettings:
    """The initial weights of a network, and which of its parameters train, when and how fast."""

    weights: str | None
    head: str | None
    freeze: str | list[str]
    unfreeze_epoch: int | None
    head_lr_factor: float
    backbone_lr_factor: float
    layer_decay: float | None
    no_decay_norms: bool
    cache: Switch


@dataclass(frozen=True)
class EarlyStoppingSettings:
    """The validation metric that is monitored, and the number of validations that it may fail to improve."""

    monitor: str
    mode: Literal["auto", "min", "max"]
    patience: int
    min_delta: float


@dataclass(frozen=True)
class ReportSettings:
    """What the report of a run shows, and whether its charts are also written as files."""

    samples: bool
    plots: bool


@dataclass(frozen=True)
class SweepSettings:
    """Which jobs a sweep runs, and how; a method's own settings are in its option."""

    method: str
    parallel: Literal["auto"] | int
    stack: Literal["auto"] | bool
    jobs_per_device: Literal["auto"] | int
    job_minutes: float | None
    seeds: int
    folds: int | None
    test: Literal["auto", "all", "best"]
    top: int
    dry_run: bool
    fail_fast: bool


@dataclass(frozen=True)
class LaunchSettings:
    """Where a run or the jobs of a sweep run; a launcher's own settings are in its option."""

    place: str


# The sections that a dataclass types, by name; those of tasks are in their records.
SECTIONS: dict[str, type] = {
    "data": DataSettings,
    "tokenizer": TokenizerSettings,
    "trainer": TrainerSettings,
    "transfer": TransferSettings,
    "early_stopping": EarlyStoppingSettings,
    "report": ReportSettings,
    # A run has neither: see config/sweep_settings.py.
    "sweep": SweepSettings,
    "launch": LaunchSettings,
}


@dataclass(frozen=True)
class RunSettings:
    """The whole config of a run. Sections with a `_target_` stay mappings: their parameters belong to that target."""

    seed: int
    task: str
    ckpt: str | None
    resume: str | None
    init_from: str | None
    repeat: str | None
    input: str | None
    runs: str | None
    trust: list[str]
    data: DataSettings
    tokenizer: TokenizerSettings | None
    trainer: TrainerSettings
    transfer: TransferSettings
    early_stopping: EarlyStoppingSettings | None
    model: dict[str, Any]
    problem: dict[str, Any]
    loss: dict[str, Any]
    metric: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any] | None
    augment: dict[str, Any]
    callback: dict[str, Any]
    export: dict[str, Any]
    logger: dict[str, Any]
    report: ReportSettings | None

    @property
    def shows_samples(self) -> bool:
        """Whether reports and loggers may have pictures of samples."""
        return self.report is None or self.report.samples


# Settings of an invocation, like the sections of tasks: a checkpoint does not store them.
_OF_AN_INVOCATION = ("task", "ckpt", "resume", "init_from", "repeat", "input", "runs", "trust")
# Settings of the run: a checkpoint stores them.
RUN_KEYS = tuple(field.name for field in fields(RunSettings) if field.name not in _OF_AN_INVOCATION)

Section = TypeVar("Section")


def from_mapping(cls: type[Section], values: Mapping[str, Any]) -> Section:
    """Return the dataclass `cls` filled from a checked mapping, nested sections included."""
    hints = _hints(cls)  # type: ignore[arg-type]  # a class is hashable
    filled = {}
    for field in fields(cls):  # type: ignore[arg-type]
        section = _section_type(hints[field.name])
        value = values[field.name]
        filled[field.name] = from_mapping(section, value) if section and value is not None else value
    return cls(**filled)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields: finding them takes most of the time of filling it."""
    return get_type_hints(cls)


def _section_type(hint: Any) -> type | None:
    """Return the settings class that a type hint names, if it names one."""
    for candidate in SECTIONS.values():
        if hint is candidate or candidate in getattr(hint, "__args__", ()):
            return candidate
    return None
