"""Whether data is what a config says of it, and whether its splits are whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils._pytree import tree_leaves

from nnrun.base.errors import DataError, shown
from nnrun.base.shown import counted
from nnrun.base.targets import Targets
from nnrun.config.schema import DataSettings
from nnrun.core.seams.data import Split
from nnrun.core.target_values import fault_in


class OtherThanClaimed(DataError):
    """The data has another shape, or other facts, than a config says: that of a trained network, for example."""


def check_claims(known: Mapping[str, Any], settings: DataSettings) -> None:
    """Raise OtherThanClaimed where the settings contradict the data."""
    for key, found in known.items():
        claim = getattr(settings, key)
        if claim is not None and claim != found:
            has = "no classes" if key == "num_classes" and found == "???" else found
            is_sized = key == "in_shape" and settings.image_size not in (None, "auto")
            why = f" (data.image_size={shown(settings.image_size)})" if is_sized else ""
            raise OtherThanClaimed(f"data.{key} is {claim}, but {settings.name} has {has}{why}")


def check_targets(name: str, split: Split, targets: Targets, data: str) -> None:
    """Raise DataError where a split is empty, or lacks a target, of the kind of `targets`, for each sample."""
    if len(split) == 0:
        raise DataError(f"data={data}: the {name} split is empty")
    for leaf in tree_leaves(split.inputs):
        if len(leaf) != len(split):
            raise DataError(
                f"data={data}: the {name} split has {counted(len(leaf), 'input')} and {counted(len(split), 'target')}"
            )
    if fault := fault_in(split.targets, targets):
        raise DataError(f"data={data}: the {name} split has {fault}")
