"""Allowed values of the parameters of data sets. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nnrun.config.conflicts import Conflict
from nnrun.config.ranges import POSITIVE, Range, number, one_of, several, titles_in, whole

# Data sets whose samples are always pixels.
OF_PIXELS = ("nnrun.components.data.folder.Folder", "nnrun.components.data.torchvision_sets.TorchvisionDataset")


def _in_0_to_1(numbers: Sequence[float]) -> bool:
    """Return whether numbers can be a mean or a deviation of pixels in 0..1."""
    return all(0 <= number <= 1 for number in numbers)


def _share_a_title(one: Any, other: Any) -> bool:
    return not set(titles_in(one)).isdisjoint(titles_in(other))


RANGES = {
    "data.dataset.test_fraction": number(0, 1, above=True, below=True, null=True),
    "data.dataset.mean": Range(
        lambda v: v is None or several(number(-math.inf)).holds(v), "a list of numbers, or null"
    ),
    "data.dataset.std": Range(lambda v: v is None or several(POSITIVE).holds(v), "a list of numbers above 0, or null"),
    "data.dataset.options": Range(lambda v: isinstance(v, dict), "parameters by name, such as {split: letters}"),
    "data.dataset.bins": whole(2, 256),
    "data.dataset.layout": one_of("auto", "NHW", "NCHW", "NHWC"),
}

CONFLICTS = (
    *(
        Conflict(
            (key, "data.target"),
            _share_a_title,
            f"{key}={{}} and data.target={{}} name the same column; what is learned is no input",
        )
        for key in ("data.columns", "data.drop", "data.text", "data.group")
    ),
    Conflict(
        ("data.columns", "data.drop"),
        _share_a_title,
        "data.columns={} has no effect on a column that data.drop={} leaves out; name each in one of them",
    ),
    Conflict(
        ("data.columns", "data.group"),
        lambda columns, group: isinstance(columns, Mapping) and columns.get(group, "id") != "id",
        "data.columns={} has no effect on the column of data.group={}, which is left out; remove it",
    ),
    # A run that is resumed, repeated or evaluated keeps its mean.
    Conflict(
        ("data.dataset.mean", "data.dataset._target_", "ckpt", "resume", "repeat"),
        lambda mean, target, *earlier: mean and target in OF_PIXELS and not any(earlier) and not _in_0_to_1(mean),
        "data.dataset.mean={} is not for pixels in 0..1; divide it by 255, or remove it to have it computed",
    ),
    Conflict(
        ("data.dataset.std", "data.dataset._target_", "ckpt", "resume", "repeat"),
        lambda std, target, *earlier: std and target in OF_PIXELS and not any(earlier) and not _in_0_to_1(std),
        "data.dataset.std={} is not for pixels in 0..1; divide it by 255, or remove it to have it computed",
    ),
)

# What is known about data sets before they are read: the kind of their targets and samples.
DATA_KINDS: dict[str, tuple[str, ...]] = {
    "nnrun.components.data.digits.Digits": ("classes", "images"),
    **{f"nnrun.components.data.mnist.{name}": ("classes", "images") for name in ("MNIST", "FashionMNIST", "KMNIST")},
    **{f"nnrun.components.data.cifar.{name}": ("classes", "images") for name in ("CIFAR10", "CIFAR100")},
    "nnrun.components.data.torchvision_sets.TorchvisionDataset": ("classes", "images"),
    "nnrun.components.data.folder.Folder": ("images",),
    "nnrun.components.data.table.source.Table": ("tables",),
    "nnrun.components.data.texts.Texts": ("texts",),
}
