"""The scale of samples, and whether it is the one that a mean, or a trained network, expects."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nnrun.assembly.data.opened import Opened
from nnrun.base.errors import ConfigError, DataError
from nnrun.base.foreign_errors import calling
from nnrun.config.schema import DataSettings
from nnrun.core.lazy_samples import Stored
from nnrun.core.seams.data import Preprocessing, Split
from nnrun.core.trees import named_leaves

# Samples in memory, or in a file.
Samples = Tensor | Stored

OF_TREES = "nnrun.components.data.normalize_tree.NormalizeTree"
PIXELS, FLOATS = "nnrun.components.data.normalize.Normalize", "nnrun.components.data.normalize.Standardize"
_WORDS = {PIXELS: "pixels (uint8, 0 to 255)", FLOATS: "floats as stored"}
_WHITE = 255
# No change of light or contrast makes samples this many times larger; 0..255 instead of 0..1 is a factor of 255.
_TOO_LARGE = 50
# Mean plus std of values that go far beyond 1.
_MUCH_MORE_THAN_1 = 10
# The root mean square of a network's inputs above which they are not normalized.
_FAR_FROM_1 = 10
# Maximum number of samples, and of values, that are examined.
_NUM_SAMPLES, _NUM_VALUES = 1000, 2**22


def check_given_mean(data: Opened, settings: DataSettings) -> None:
    """Raise ConfigError where the mean and std given with the data are on another scale than the samples."""
    plain = data.preprocessing.to_plain()
    mean, std = (_numbers(plain.get(key)) for key in ("mean", "std"))
    if plain["_target_"] == PIXELS and mean and std and (max(mean) > 1 or min(mean) < 0 or max(std) > 1):
        raise ConfigError(
            f"data={settings.name}: the mean {_shown(mean)} and std {_shown(std)} are not those of pixels in 0..1; "
            "divide data.dataset.mean and std by 255, or remove them to have them measured"
        )
    is_given = settings.dataset.get("mean") is not None or settings.dataset.get("std") is not None
    if plain["_target_"] == FLOATS and is_given and (fault := scale_fault(plain, some_of(data.train))):
        raise ConfigError(
            f"data.dataset.mean={_shown(mean)} and std={_shown(std)} are on another scale than the samples: {fault}; "
            "remove them to have them measured"
        )


def check_learned(learned: Preprocessing, data: Opened, settings: DataSettings) -> None:
    """Raise DataError where a network was trained on pixels and the data is floats, or vice versa, or on another scale.

    The input of a custom preprocessing is unknown and not checked. Weights from other programs have no preprocessing:
    they use the data's, and a mean that is given with the data is checked.
    """
    if learned is data.preprocessing:
        check_given_mean(data, settings)
        return
    for name, preprocessing, leaf in _each(learned.to_plain(), data.test):
        what = f"data={settings.name}" + (f": {name}" if name else "")
        kind = PIXELS if leaf.dtype == torch.uint8 else FLOATS
        if preprocessing["_target_"] != kind:
            theirs, ours = _WORDS[preprocessing["_target_"]], str(leaf.dtype).removeprefix("torch.")
            raise DataError(
                f"the network was trained on {theirs}, but {what} holds {ours}, on another scale: save the samples "
                "as those of the training were, or train a network on these"
            )
        if fault := scale_fault(preprocessing, some_of(leaf)):
            raise DataError(f"{what} is on another scale than the data the network was trained on: {fault}")


def _each(preprocessing: Mapping[str, Any], split: Split) -> Iterator[tuple[str, Mapping[str, Any], Samples]]:
    """Yield the tensors of samples whose scale is known: name, preprocessing, tensor."""
    leaves = named_leaves(split.inputs) if len(split) else {}
    if preprocessing["_target_"] in _WORDS and len(leaves) == 1:
        yield "", preprocessing, next(iter(leaves.values()))
    elif preprocessing["_target_"] == OF_TREES:
        for name, given in preprocessing["leaves"].items():
            if name in leaves:
                # A mean measured of integers is one of pixels.
                yield name, {**given, "_target_": PIXELS if given.get("peak") == _WHITE else FLOATS}, leaves[name]


def note_on_inputs(data: Opened, settings: DataSettings) -> str | None:
    """Return a note where the network's inputs are large, although a mean is given or the preprocessing is custom.

    nnrun measures the mean and deviation itself otherwise: then there is nothing to check.
    """
    is_given = settings.dataset.get("mean") is not None or settings.dataset.get("std") is not None
    if data.preprocessing.to_plain()["_target_"] in (*_WORDS, OF_TREES) and not is_given:
        return None
    some = torch.linspace(0, len(data.train) - 1, min(len(data.train), _NUM_SAMPLES)).long()
    with calling("the preprocessing of data"):
        inputs = data.preprocessing(data.train.take(some)[0])
    for leaf in tree_leaves(inputs):
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point() or not leaf.numel():
            continue
        values = leaf.double()
        if float(values.square().mean().sqrt()) > _FAR_FROM_1:
            advice = (
                "remove data.dataset.mean and std to have them measured"
                if is_given
                else "normalize them in the data set"
            )
            return (
                f"the inputs are not normalized: a mean of {float(values.mean()):.4g} and a standard deviation of "
                f"{float(values.std()):.4g}, while networks learn best from values around 0 with a deviation of 1; "
                f"{advice}"
            )
    return None


def scale_fault(preprocessing: Mapping[str, Any], samples: Tensor) -> str | None:
    """Return how samples are clearly on another scale than a preprocessing expects; None if they are not.

    Only a difference that light or contrast cannot explain counts: 0..255 for 0..1, or vice versa.
    """
    mean, std = (_numbers(preprocessing.get(key)) for key in ("mean", "std"))
    if preprocessing["_target_"] not in _WORDS or not mean or not std:
        return None
    white = _WHITE if preprocessing["_target_"] == PIXELS else 1
    learned, learned_std = (white * sum(map(abs, numbers)) / len(numbers) for numbers in (mean, std))
    values = samples.double()
    largest, level = float(values.abs().max()), float(values.abs().mean())
    words = f"and those of the training had a mean of {learned:.4g}"
    if level >= _TOO_LARGE * (learned + learned_std) and float(values.std()) >= _TOO_LARGE * learned_std:
        return f"its values have a mean of {level:.4g}, {words}"
    # Whole numbers up to 1 may be almost black pixels stored as floats of 0..255.
    has_steps_below_1 = samples.dtype == torch.uint8 or bool((values != values.round()).any())
    if 0 < largest <= 1 and has_steps_below_1 and learned + learned_std >= _MUCH_MORE_THAN_1:
        return f"its values go up to {largest:.4g}, {words}"
    return None


def some_of(samples: Split | Samples) -> Tensor:
    """Return some samples of a split or a tensor, evenly spread."""
    leaf = tree_leaves(samples.inputs)[0] if isinstance(samples, Split) else samples
    num_values = max(1, math.prod(leaf.shape[1:]))
    number = max(1, min(len(leaf), _NUM_SAMPLES, _NUM_VALUES // num_values))
    return leaf[torch.linspace(0, len(leaf) - 1, number).long()]


def _numbers(value: Any) -> list[float]:
    """Return a list of numbers; empty if the value is not one."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, int | float) for item in value):
        return []
    return [float(item) for item in value]


def _shown(numbers: Sequence[float]) -> str:
    return f"[{','.join(f'{number:g}' for number in numbers)}]"
