"""Samples of a map-style Dataset that are not images: a vector, or several tensors by name, read into memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

from nnrun.base.errors import DataError
from nnrun.components.data.map_style_items import pair_of, plain_label, reading
from nnrun.core.trees import named_leaves

# Maximum number of unreadable samples that an error names.
_NUM_NAMED = 5


class TreePart(NamedTuple):
    """The samples of a split: their tensors, stacked; their targets; and the errors of unreadable ones."""

    inputs: Any
    labels: list[Any]
    failures: list[str]


def holds_trees(dataset: Any) -> bool:
    """Return whether the samples of a data set are not images but vectors, or several tensors each."""
    try:
        sample, _ = pair_of(dataset[0])
    except Exception:  # reported when the sample is read
        return False
    return isinstance(sample, Mapping | list | tuple) or getattr(sample, "ndim", 2) == 1


def read_trees(name: str, datasets: Mapping[str, Any], on_bad: str) -> dict[str, TreePart]:
    """Return the samples of each split; raise DataError that names unreadable ones, unless they are skipped.

    All have the tensors of the first, with the same shapes.
    """
    reader = _Reader()
    parts = {part: reader.part(f"{name}, {part}", dataset) for part, dataset in datasets.items()}
    failures = [failure for part in parts.values() for failure in part.failures]
    if failures and (on_bad == "error" or not all(part.labels for part in parts.values())):
        total = sum(map(len, datasets.values()))
        rest = len(failures) - _NUM_NAMED
        more = [f"and {rest:,} more"] if rest > 0 else []
        way = f"{len(failures):,} of {total:,} samples cannot be read; skip them with data.on_bad=skip"
        raise DataError(*failures[:_NUM_NAMED], *more, way)
    return parts


class _Reader:
    """Reads samples that all have the form of the first."""

    def __init__(self) -> None:
        self._spec: TreeSpec | None = None
        self._forms: list[tuple[str, tuple[int, ...], torch.dtype]] = []

    def part(self, called: str, dataset: Any) -> TreePart:
        """Return all samples of a data set."""
        rows: list[list[Tensor]] = []
        labels, failures = [], []
        for index in range(len(dataset)):
            try:
                with reading(f"{called}: sample {index}"):
                    sample, label = pair_of(dataset[index])
                rows.append(self._leaves(sample, f"{called}: sample {index}"))
                labels.append(plain_label(label))
            except DataError as error:
                failures.append(error.messages[0])
        assert self._spec is not None or not rows
        columns = [torch.stack(column) for column in zip(*rows, strict=True)]
        return TreePart(tree_unflatten(columns, self._spec) if columns and self._spec else None, labels, failures)

    def _leaves(self, sample: Any, called: str) -> list[Tensor]:
        """Return the tensors of a sample; raise DataError where they differ in form from those of the first."""
        tree = tree_map(lambda value: _as_tensor(value, called), sample, is_leaf=_is_vector)
        leaves, spec = tree_flatten(tree)
        if self._spec is None:
            _check_keys(tree, called)
            try:
                names = named_leaves(tree)
            except ValueError as error:
                raise DataError(f"{called}: {error}") from error
            if not names:
                raise DataError(f"{called}: x contains no tensor")
            self._spec = spec
            self._forms = [(name, tuple(leaf.shape), leaf.dtype) for name, leaf in names.items()]
        if spec != self._spec:
            raise DataError(f"{called}: x has another structure than in the first sample")
        for (name, shape, dtype), leaf in zip(self._forms, leaves, strict=True):
            if tuple(leaf.shape) != shape or leaf.dtype != dtype:
                ours, theirs = _form(tuple(leaf.shape), leaf.dtype), _form(shape, dtype)
                raise DataError(f"{called}: {name} is {ours}, but {theirs} in the first sample")
            if leaf.is_floating_point() and not bool(leaf.isfinite().all()):
                raise DataError(f"{called}: {name} contains NaN or infinity")
        return leaves


def _check_keys(tree: Any, called: str) -> None:
    """Raise DataError where a key in a sample is not a string: no file could store it."""
    if isinstance(tree, Mapping):
        for key, part in tree.items():
            if not isinstance(key, str):
                raise DataError(f"{called}: x has the key {key!r}; its keys must be strings")
            _check_keys(part, called)
    elif isinstance(tree, list | tuple):
        for part in tree:
            _check_keys(part, called)


def _form(shape: tuple[int, ...], dtype: torch.dtype) -> str:
    """Return the shape and type of a tensor in words."""
    return f"{shape} of {str(dtype).removeprefix('torch.')}"


def _is_vector(value: Any) -> bool:
    """Return whether a value is a list of plain numbers, which is one tensor."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, int | float) for item in value)


def _as_tensor(value: Any, called: str) -> Tensor:
    """Return a leaf of a sample as a tensor: floats as float32, integers as int64 or uint8."""
    if hasattr(value, "getexif"):
        import numpy as np  # noqa: PLC0415 - a run on other data does not pay for it

        pixels = torch.from_numpy(np.array(value))
        return pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1).contiguous()
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        kind = type(value).__name__
        raise DataError(f"{called}: x contains a {kind}; allowed: tensors, arrays, numbers, PIL images") from None
    if tensor.is_floating_point():
        return tensor.to(torch.float32)
    return tensor if tensor.dtype in (torch.uint8, torch.bool) else tensor.to(torch.int64)
