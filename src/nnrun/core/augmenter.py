"""Augmentation: change training batches on the device, as a pure function of (seed, epoch, index of the batch)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from nnrun.base.errors import ConfigError
from nnrun.base.foreign_errors import calling
from nnrun.core.randomness import AUGMENT, mix
from nnrun.core.seams.batch import Augmentation, Mixed, Mixing
from nnrun.core.seams.data import Tree

# The order of augmentations, whatever the order in which they were named; mixing is last.
SHAPE, COLOR, OWN, HIDE = range(4)


class Augmenter:
    """Apply augmentations to training batches: by stage, within a stage by name, and mixings last.

    Every draw comes from a separate generator that is seeded for each batch: it is the same whatever else draws,
    wherever the samples are stored, and from whichever batch a run resumes.
    """

    def __init__(self, parts: Mapping[str, Augmentation | Mixing], seed: int, device: torch.device) -> None:
        names = sorted(parts, key=lambda name: (getattr(parts[name], "stage", OWN), name))
        self._mixings: dict[str, Any] = {name: parts[name] for name in names if hasattr(parts[name], "mix")}
        self._augmentations: dict[str, Any] = {name: parts[name] for name in names if name not in self._mixings}
        self._seed = seed
        # A graph that captures draws must register it (register_generator_state).
        self.generator = torch.Generator(device)

    def seed(self, epoch: int, index: int) -> None:
        """Seed the draws of one batch of an epoch."""
        self.generator.manual_seed(mix(AUGMENT, self._seed, epoch, index))

    def check_range(self, raw: Tree) -> None:
        """Raise ConfigError if samples are floats outside 0 to 1 and an augmentation takes 1 for white."""
        floats = [leaf for leaf in tree_flatten(raw)[0] if leaf.is_floating_point() and leaf.numel()]
        low = min([0.0, *(float(leaf.min()) for leaf in floats)])
        high = max([1.0, *(float(leaf.max()) for leaf in floats)])
        for name, augmentation in self._augmentations.items():
            if getattr(augmentation, "one_is_white", False) and (low < 0 or high > 1):
                raise ConfigError(
                    f"augment.{name} takes uint8, or floats from 0 to 1, but the training samples are from {low:g} to "
                    f"{high:g}; rescale them, or remove it from augment="
                )

    def augment(self, raw: Tree) -> Tree:
        """Return the raw samples of a batch, augmented."""
        for name, augmentation in self._augmentations.items():
            with calling(f"augment.{name}"):
                changed = augmentation(raw, self.generator)
            _check_form(name, changed, raw)
            raw = changed
        return raw

    def mix(self, inputs: Tree, targets: Tensor, weight: Tensor, *, is_full: bool = False) -> tuple[Tree, Mixed | None]:
        """Return the inputs of a batch, each mixed with its partner; of several mixings, one is drawn for each sample.

        `weight` `(N,)` is 0 for padding, which is nobody's partner; `is_full` tells the host that there is none.
        """
        if not self._mixings:
            return inputs, None
        partner = partners(weight, self.generator, is_full=is_full)
        others = tree_map(lambda tensor: tensor.index_select(0, partner), inputs)
        chosen = torch.randint(len(self._mixings), weight.shape, generator=self.generator, device=weight.device)
        mixed, share = inputs, torch.ones_like(weight)
        for number, (name, mixing) in enumerate(self._mixings.items()):
            with calling(f"augment.{name}"):
                theirs, their_share = mixing.mix(inputs, others, self.generator)
            _check_form(name, (theirs, their_share), (inputs, share))
            if len(self._mixings) == 1:
                mixed, share = theirs, their_share
                break
            is_chosen = chosen == number
            mixed = tree_map(lambda new, old, is_chosen=is_chosen: _where(is_chosen, new, old), theirs, mixed)
            share = torch.where(is_chosen, their_share, share)
        return mixed, Mixed(targets.index_select(0, partner), share)


def partners(weight: Tensor, generator: torch.Generator, *, is_full: bool = False) -> Tensor:
    """Return for each sample the index of the one that it is mixed with, `(N,)`: the next in a random circle.

    Padding, of weight 0, is not in the circle: as a partner, it would count as a sample. A single sample is its own
    partner. With `is_full`, there is no padding, and a GPU needs fewer launches for the same result.
    """
    keys = torch.rand(len(weight), generator=generator, device=weight.device)
    if is_full:
        circle = keys.argsort(stable=True)
        following = circle.roll(-1)
    else:
        # Keys of real samples are below 1, so that padding is sorted after them.
        circle = (keys + (weight == 0)).argsort(stable=True)
        after = torch.arange(1, len(weight) + 1, device=weight.device)
        following = circle.index_select(0, torch.where(after < (weight > 0).sum(), after, 0))
    if torch.are_deterministic_algorithms_enabled():
        # Its scatter takes fifteen launches.
        return following.index_select(0, circle.argsort())
    return torch.empty_like(circle).scatter_(0, circle, following)


def _where(chosen: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Return `new` for the samples chosen, `(N,)` of bool, and `old` for the others."""
    return torch.where(chosen.view(-1, *[1] * (new.dim() - 1)), new, old)


def _check_form(name: str, changed: Tree, before: Tree) -> None:
    """Raise ConfigError unless the output of an augmentation has the shapes and types of its input."""
    ours, theirs = _form(before), _form(changed)
    if ours != theirs:
        gives, takes = (", ".join(f"{kind} {shape}" for kind, shape in form[1]) for form in (theirs, ours))
        raise ConfigError(f"augment.{name} returns {gives}; allowed: the shapes and types of its input, {takes}")


def _form(tree: Tree) -> tuple[Any, list[tuple[Any, Any]]]:
    """Return the structure of a tree, and the type and the shape of each of its tensors."""
    leaves, structure = tree_flatten(tree)
    return structure, [(getattr(leaf, "dtype", type(leaf)), tuple(getattr(leaf, "shape", ()))) for leaf in leaves]
