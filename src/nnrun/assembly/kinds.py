"""The kind of object that each section of the config builds, and functions that test for it."""

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

# The kind that each section builds. Protocols are compared by the methods that they require.
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
    """Return the key in KINDS of a section's full name; for one of several in a group, the group."""
    return name if name in KINDS else name.partition(".")[0]


def is_kind(value: object, kind: type | UnionType) -> bool:
    """Return whether an object, or the instances of a class, are of a kind."""
    if isinstance(kind, UnionType):
        return any(is_kind(value, option) for option in get_args(kind))
    if getattr(kind, "_is_protocol", False):
        # Attributes are checked on instances only: a class may set them in its constructor.
        attributes = [] if isinstance(value, type) else list(kind.__annotations__)
        methods = all(_has_method(value, method) for method in _methods(kind))
        return methods and all(hasattr(value, name) for name in attributes)
    return issubclass(value, kind) if isinstance(value, type) else isinstance(value, kind)


def lacking(value: object, kind: type | UnionType) -> list[str]:
    """Return the names of a protocol that an object lacks."""
    if not getattr(kind, "_is_protocol", False):
        return []
    attributes = [name for name in kind.__annotations__ if not hasattr(value, name)]
    return [name for name in _methods(kind) if not _has_method(value, name)] + attributes  # type: ignore[arg-type]


def in_words(kind: type | UnionType) -> str:
    """Return the name of a class with its article; for a union, all names."""
    if isinstance(kind, UnionType):
        return " or ".join(in_words(option) for option in get_args(kind))
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"


def is_map_style(kind: type) -> bool:
    """Return whether a class is a map-style data set, as torch has them: a sample by its index, and a length."""
    is_source = is_kind(kind, DataSource)
    return not is_source and all(callable(getattr(kind, name, None)) for name in ("__getitem__", "__len__"))


def is_torchmetric(kind: type) -> bool:
    """Return whether a class is a metric, or a collection, of torchmetrics. Does not import the library."""
    names = {f"{base.__module__}.{base.__name__}" for base in kind.__mro__}
    return not names.isdisjoint(("torchmetrics.metric.Metric", "torchmetrics.collections.MetricCollection"))


# Classes of other libraries that a section accepts besides those of its kind, through an adapter.
_ADAPTED: dict[str, Callable[[type], bool]] = {"data.dataset": is_map_style, "metric": is_torchmetric}


def is_adapted(kind: type, section: str) -> bool:
    """Return whether a class is another library's for which a section has an adapter."""
    return section in _ADAPTED and _ADAPTED[section](kind)


def _methods(protocol: type) -> list[str]:
    """Return the methods that a protocol requires: the public ones and `__call__`."""
    members = vars(protocol).items()
    return [name for name, member in members if callable(member) and (name == "__call__" or name[0] != "_")]


def _has_method(value: object, name: str) -> bool:
    """Return whether an object, or the instances of a class, have a method."""
    if name == "__call__":
        # Every class is callable itself: check what its instances have.
        bases = value.__mro__ if isinstance(value, type) else type(value).__mro__
        return any(name in vars(base) for base in bases)
    return callable(getattr(value, name, None))
