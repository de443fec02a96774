"""Samples of a map-style Dataset that are not images: a vector, a sequence, or several tensors by name, in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

from nnrun.base.errors import DataError
from nnrun.components.data.collated import Collated, digest_of
from nnrun.components.data.map_style_items import pair_of, plain_label, reading
from nnrun.components.data.sequences import packed_sequences
from nnrun.core.sample_hashes import as_tensor
from nnrun.core.trees import ALONE, named_leaves

# Maximum number of unreadable samples that an error names.
_NUM_NAMED = 5


@dataclass(frozen=True)
class TreePart:
    """The samples of a split: their tensors, stacked; their targets; and the errors of unreadable ones.

    `digests` identify samples of different lengths. `lengths` names the tensor of the lengths of each sequence, and
    `facts` are what a network's section may refer to.
    """

    inputs: Any
    labels: list[Any]
    failures: list[str]
    digests: Tensor | None = None
    lengths: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def holds_trees(dataset: Any) -> bool:
    """Return whether the samples of a data set are not images but vectors, sequences, or several tensors each."""
    if collate_of(dataset) is not None:
        return True
    try:
        sample, _ = pair_of(dataset[0])
    except Exception:  # reported when the sample is read
        return False
    return isinstance(sample, Mapping | list | tuple) or getattr(sample, "ndim", 2) == 1


def read_trees(name: str, datasets: Mapping[str, Any], on_bad: str) -> dict[str, TreePart]:
    """Return the samples of each split; raise DataError that names unreadable ones, unless they are skipped.

    All have the tensors of the first, with the same shapes.
    """
    first = next(iter(datasets.values()))
    reader = _Reader(name, sequences_of(first), collate_of(first))
    parts = {part: reader.part(f"{name}, {part}", dataset) for part, dataset in datasets.items()}
    failures = [failure for part in parts.values() for failure in part.failures]
    if failures and (on_bad == "error" or not all(part.labels for part in parts.values())):
        total = sum(map(len, datasets.values()))
        rest = len(failures) - _NUM_NAMED
        more = [f"and {rest:,} more"] if rest > 0 else []
        way = f"{len(failures):,} of {total:,} samples cannot be read; skip them with data.on_bad=skip"
        raise DataError(*failures[:_NUM_NAMED], *more, way)
    return parts


def collate_of(dataset: Any) -> Callable[[list[Any]], Any] | None:
    """Return the function by which a data set makes a batch of a list of samples, if it has one."""
    collate = getattr(dataset, "collate", None)
    return collate if callable(collate) else None


def sequences_of(dataset: Any) -> tuple[str, ...]:
    """Return the names of the tensors that a data set says to be sequences of different lengths."""
    names = getattr(dataset, "sequences", ())
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise DataError(
            f"{type(dataset).__name__}.sequences is {names!r}; it lists the names of the tensors whose lengths differ, "
            f"such as ['tokens'], or ['{ALONE}'] where x is one sequence"
        )
    return tuple(names)


class _Reader:
    """Reads samples that all have the form of the first; those of `collate` may have any."""

    def __init__(self, name: str, sequences: Sequence[str], collate: Callable[[list[Any]], Any] | None) -> None:
        self._name, self._sequences, self._collate = name, sequences, collate
        self._spec: TreeSpec | None = None
        self._forms: list[tuple[str, tuple[int, ...], torch.dtype]] = []

    def part(self, called: str, dataset: Any) -> TreePart:
        """Return all samples of a data set."""
        rows: list[Any] = []
        labels, failures = [], []
        for index in range(len(dataset)):
            try:
                with reading(f"{called}: sample {index}"):
                    sample, label = pair_of(dataset[index])
                rows.append(sample if self._collate else self._leaves(sample, f"{called}: sample {index}"))
                labels.append(plain_label(label))
            except DataError as error:
                failures.append(error.messages[0])
        if self._collate is not None:
            digests = as_tensor(b"".join(digest_of(sample) for sample in rows))
            return TreePart(Collated(rows, self._collate, self._name), labels, failures, digests)
        assert self._spec is not None or not rows
        if not rows or self._spec is None:
            return TreePart(None, labels, failures)
        names = [name for name, _, _ in self._forms]
        if not self._sequences:
            columns = [torch.stack(column) for column in zip(*rows, strict=True)]
            return TreePart(tree_unflatten(columns, self._spec), labels, failures)
        found = {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
        packed = packed_sequences(called, found, self._sequences, self._spec)
        return TreePart(packed.tree, labels, failures, packed.digests, packed.lengths, packed.facts)

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
            if other := [name for name in self._sequences if name not in names]:
                raise DataError(
                    f"{self._name}: sequences lists {', '.join(other)}, but a sample has {', '.join(names)}"
                )
            self._spec = spec
            self._forms = [(name, tuple(leaf.shape), leaf.dtype) for name, leaf in names.items()]
        if spec != self._spec:
            raise DataError(f"{called}: x has another structure than in the first sample")
        for (name, shape, dtype), leaf in zip(self._forms, leaves, strict=True):
            is_sequence = name in self._sequences
            if is_sequence and not leaf.dim():
                raise DataError(f"{called}: {name} is a number; sequences lists it, so it must be a list or a tensor")
            start = int(is_sequence)
            # An empty list has no type of its own.
            has_type = leaf.dtype == dtype or (is_sequence and not leaf.numel())
            if tuple(leaf.shape[start:]) != shape[start:] or leaf.dim() != len(shape) or not has_type:
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
