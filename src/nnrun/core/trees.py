"""Trees of tensors: what each tensor is called, how many samples they hold, and a tree's form as plain values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten_with_path, tree_leaves, tree_map

# What a tensor is called that has no name of its own; those of a tuple are `input_0` and so on.
ALONE = "input"


def named_leaves(tree: Any) -> dict[str, Tensor]:
    """Return the tensors of a tree by name, in their order: a dict's by its keys, those deeper by `key.key`.

    Raises ValueError where two have one name.
    """
    leaves = [(_name(path), leaf) for path, leaf in tree_flatten_with_path(tree)[0]]
    if len(named := dict(leaves)) != len(leaves):
        raise ValueError(f"two of the inputs have one name: {', '.join(name for name, _ in leaves)}")
    return named


def num_samples(tree: Any) -> int:
    """Return how many samples a tree holds: the first dimension of each of its tensors."""
    return len(tree_leaves(tree)[0])


def samples_of(tree: Any, index: slice | Tensor) -> Any:
    """Return the samples at an index, of each tensor of a tree."""
    return tree_map(lambda leaf: leaf[index], tree)


def form_of(tree: Any) -> Any:
    """Return the form of a tree in JSON's types, which `nnrun.proof.runner` builds it from.

    A number is the place of a tensor among the leaves; around it stand `{"dict": ...}`, `{"tuple": ...}` and
    `{"list": ...}`. Raises TypeError where it is made of anything else.
    """
    return _form_of(tree, itertools.count())


def _form_of(tree: Any, places: Iterator[int]) -> Any:
    """Return the form of a part of a tree; `places` counts its tensors."""
    if isinstance(tree, Tensor):
        return next(places)
    if type(tree) is dict:
        return {"dict": {key: _form_of(part, places) for key, part in tree.items()}}
    if type(tree) in (tuple, list):
        return {type(tree).__name__: [_form_of(part, places) for part in tree]}
    raise TypeError(f"inputs are made of tensors, dicts, tuples and lists; a {type(tree).__name__} is none of these")


def _name(path: tuple[Any, ...]) -> str:
    """Return what the tensor at the end of a path is called."""
    parts = [str(key.key if hasattr(key, "key") else getattr(key, "idx", key)) for key in path]
    if path and hasattr(path[0], "key"):
        return ".".join(parts)
    return "_".join([ALONE, *parts])
