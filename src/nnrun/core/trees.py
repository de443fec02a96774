"""Trees of tensors: the name of each tensor, the number of samples, and a tree's structure as plain values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten_with_path, tree_leaves, tree_map

from nnrun.core.texts import Texts

# The name of a tensor that has none of its own; those of a tuple are `input_0` and so on.
ALONE = "input"


def named_leaves(tree: Any) -> dict[str, Any]:
    """Return the tensors (or Texts) of a tree by name, in order: a dict's by its keys, nested ones by `key.key`.

    Raises ValueError if two have the same name.
    """
    leaves = [(_name(path), leaf) for path, leaf in tree_flatten_with_path(tree)[0]]
    if len(named := dict(leaves)) != len(leaves):
        raise ValueError(f"two of the inputs have the same name: {', '.join(name for name, _ in leaves)}")
    return named


def num_samples(tree: Any) -> int:
    """Return how many samples a tree holds: the first dimension of each of its tensors."""
    return len(tree_leaves(tree)[0])


def samples_of(tree: Any, index: slice | Tensor) -> Any:
    """Return the samples at an index, of each tensor of a tree."""
    return tree_map(lambda leaf: leaf[index], tree)


def form_of(tree: Any) -> Any:
    """Return the structure of a tree in JSON's types, from which `nnrun.proof.runner` rebuilds it.

    A number is the index of a tensor among the leaves; around it are `{"dict": ...}`, `{"tuple": ...}` and
    `{"list": ...}`. Raises TypeError if the tree contains anything else.
    """
    return _form_of(tree, itertools.count())


def _form_of(tree: Any, places: Iterator[int]) -> Any:
    """Return the structure of a subtree; `places` counts its tensors."""
    if isinstance(tree, Tensor | Texts):
        return next(places)
    if type(tree) is dict:
        return {"dict": {key: _form_of(part, places) for key, part in tree.items()}}
    if type(tree) in (tuple, list):
        return {type(tree).__name__: [_form_of(part, places) for part in tree]}
    raise TypeError(f"inputs must be tensors, dicts, tuples and lists; a {type(tree).__name__} is none of these")


def _name(path: tuple[Any, ...]) -> str:
    """Return the name of the tensor at the end of a path."""
    parts = [str(key.key if hasattr(key, "key") else getattr(key, "idx", key)) for key in path]
    if path and hasattr(path[0], "key"):
        return ".".join(parts)
    return "_".join([ALONE, *parts])
