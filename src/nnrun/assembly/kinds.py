"""What each section of the config builds, and whether a class or an object is of that kind."""

from __future__ import annotations

from collections.abc import Callable
from types import UnionType
from typing import get_args

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nnrun.core.seams.batch import Augmentation, Mixing
from nnrun.core.seams.callback import Callback
from nnrun.core.seams.data import DataSource, Preprocessing
from nnrun.core.seams.export import Exporter
from nnrun.core.seams.problem import Metric, Problem
from nnrun.core.seams.training import Logger

# What each section builds. Protocols are compared by the methods that they ask for.
KINDS: dict[str, type | UnionType] = {
    "model": nn.Module,
    "problem": Problem,
    "loss": nn.Module,
    "metric": Metric,
    "optimizer": torch.optim.Optimizer,
    "scheduler": LRScheduler,
    "data.dataset": DataSource,
    "augment": Augmentation | Mixing,
    "callback": Callback,
    "export": Exporter,
    "logger": Logger,
    "preprocessing": Preprocessing,
}


def section_of(name: str) -> str:
    """Return the key in KINDS of a section, by its full name: of one among several of a group, the group's."""
    return name if name in KINDS else name.partition(".")[0]


def is_kind(value: object, kind: type | UnionType) -> bool:
    """Return whether an object, or the instances of a class, do what `kind` asks for."""
    if isinstance(kind, UnionType):
        return any(is_kind(value, option) for option in get_args(kind))
    if getattr(kind, "_is_protocol", False):
        # Attributes are an instance's: a class may set them when it is built.
        attributes = [] if isinstance(value, type) else list(kind.__annotations__)
        methods = all(_has_method(value, method) for method in _methods(kind))
        return methods and all(hasattr(value, name) for name in attributes)
    return issubclass(value, kind) if isinstance(value, type) else isinstance(value, kind)


def lacking(value: object, kind: type | UnionType) -> list[str]:
    """Return what an object lacks of a protocol."""
    if not getattr(kind, "_is_protocol", False):
        return []
    attributes = [name for name in kind.__annotations__ if not hasattr(value, name)]
    return [name for name in _methods(kind) if not _has_method(value, name)] + attributes  # type: ignore[arg-type]


def in_words(kind: type | UnionType) -> str:
    """Return the name of a class with its article; of a choice of classes, all names."""
    if isinstance(kind, UnionType):
        return " or ".join(in_words(option) for option in get_args(kind))
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"


def is_map_style(kind: type) -> bool:
    """Return whether a class is a data set of torch's kind: a sample by its index, and a length."""
    is_source = is_kind(kind, DataSource)
    return not is_source and all(callable(getattr(kind, name, None)) for name in ("__getitem__", "__len__"))


def is_torchmetric(kind: type) -> bool:
    """Return whether a class is a metric of torchmetrics, or a collection of them. Imports nothing of the library."""
    names = {f"{base.__module__}.{base.__name__}" for base in kind.__mro__}
    return not names.isdisjoint(("torchmetrics.metric.Metric", "torchmetrics.collections.MetricCollection"))


# Classes of other libraries that a section takes besides those of its kind: they are adapted.
_ADAPTED: dict[str, Callable[[type], bool]] = {"data.dataset": is_map_style, "metric": is_torchmetric}


def is_adapted(kind: type, section: str) -> bool:
    """Return whether a class is another library's that is adapted to what a section builds."""
    return section in _ADAPTED and _ADAPTED[section](kind)


def _methods(protocol: type) -> list[str]:
    """Return the methods that a protocol asks for: the public ones, and being called."""
    members = vars(protocol).items()
    return [name for name, member in members if callable(member) and (name == "__call__" or name[0] != "_")]


def _has_method(value: object, name: str) -> bool:
    """Return whether an object, or the instances of a class, have a method."""
    if name == "__call__":
        # A class is itself called to make an instance: what counts is what its instances have.
        bases = value.__mro__ if isinstance(value, type) else type(value).__mro__
        return any(name in vars(base) for base in bases)
    return callable(getattr(value, name, None))
