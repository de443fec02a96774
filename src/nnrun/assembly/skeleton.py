"""Networks of a stranger's config: compared with the weights in the file before they take memory, or time.

A checkpoint of some kilobytes can ask for a network of many gigabytes. On torch's device `meta` a network has names and
shapes, and no numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nnrun.assembly.instantiate import build
from nnrun.base.errors import ArtifactError, ConfigError, OutOfMemory
from nnrun.base.host import usable_bytes
from nnrun.checkpoints.folder import check_names_and_shapes
from nnrun.checkpoints.stored_tensors import StoredTensor

# A weight takes 2 to 13 of torch's functions to be made, in the networks that ship and in those of the libraries.
_STEPS, _STEPS_FOR_A_WEIGHT = 4_000, 40
# What a network that cannot be made on `meta` may take while it is made: its weights, and what drawing them needs.
_NUMBERS, _NUMBERS_FOR_ONE = 2**24, 3
# Of what has no weights in the file, such as a loss.
_MAX_SMALL = 2**24
# Of a config that the user wrote.
_MOST_STEPS = 10**9
# Classes that are made on `meta` as they are elsewhere; others, of libraries or of the user's own, may read numbers.
_PLAIN = (
    "nnrun.components.models.mlp.",
    "nnrun.components.models.cnn.",
    "nnrun.components.models.resnet18.",
    "nnrun.components.models.vgg.",
    "torch.nn.",
)


def build_network(section: Mapping[str, Any], weights: Mapping[str, Tensor | StoredTensor], path: Path) -> nn.Module:
    """Return the network of a section out of a file, whose weights are of its names and shapes; they are not loaded.

    Raises ArtifactError where they are not, before more memory is taken than they take; ConfigError where the network
    cannot be built.
    """
    num_steps = _STEPS + _STEPS_FOR_A_WEIGHT * len(weights)
    try:
        with torch.device("meta"), _Limits(num_steps):
            skeleton = build(section, "model", nn.Module)
    except ConfigError:
        if str(section.get("_target_")).startswith(_PLAIN):
            raise
        num_numbers = _NUMBERS + _NUMBERS_FOR_ONE * sum(math.prod(tensor.shape) for tensor in weights.values())
        with _Limits(num_steps, num_numbers):
            return build(section, "model", nn.Module)
    check_names_and_shapes(skeleton.state_dict(), weights, path)
    return build(section, "model", nn.Module)


def check_room(section: Mapping[str, Any]) -> None:
    """Raise OutOfMemory where a network of ours is known to need more memory than this machine has, to be trained.

    That is for its weights and their gradients, of what an optimizer keeps nothing. A system may give out memory that
    it has not, and end the process where that is used.
    """
    target = str(section.get("_target_"))
    if not target.startswith(_PLAIN):
        return
    with torch.device("meta"), _Limits(_MOST_STEPS):
        skeleton = build(section, "model", nn.Module)
    count = sum(parameter.numel() for parameter in skeleton.parameters())
    num_bytes, usable = 2 * 4 * count, usable_bytes()
    if num_bytes > usable:
        what = (
            f"out of memory: {target.rpartition('.')[2]} would have {count:,} parameters, whose training takes more "
            f"than {num_bytes / 1e9:.0f} GB, and {usable / 1e9:.0f} GB are there"
        )
        raise OutOfMemory(what, "smaller settings of model", "another model")


def check_small(section: Mapping[str, Any], name: str) -> None:
    """Raise ArtifactError where what a section out of a file names, and no weights are compared with, is large."""
    try:
        with torch.device("meta"), _Limits(_STEPS):
            made = build(section, name, object)
    except ConfigError:
        return  # it is said when the thing itself is built
    held = tree_leaves(vars(made)) if hasattr(made, "__dict__") else []
    for module in made.modules() if isinstance(made, nn.Module) else ():
        held += [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    count = sum(leaf.numel() for leaf in {id(leaf): leaf for leaf in held}.values() if isinstance(leaf, Tensor))
    if count > _MAX_SMALL:
        raise ArtifactError(f"{name}: {section['_target_']} asks for {count:,} numbers, and no file holds them")


class _Limits(TorchDispatchMode):
    """Raise ArtifactError once too many of torch's functions were called, or too many numbers asked for."""

    def __init__(self, num_steps: int, num_numbers: int | None = None) -> None:
        super().__init__()
        self._steps, self._numbers = num_steps, num_numbers

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Spare the import of torch's compiler, which takes as long as torch's own: nothing is compiled here."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        self._steps -= 1
        size = args[0] if args and isinstance(args[0], list | tuple) else ()
        if self._numbers is not None and all(isinstance(length, int) for length in size):
            self._numbers -= math.prod(size)
        if self._steps < 0 or (self._numbers or 0) < 0:
            raise ArtifactError("the network that the file asks for is larger than the weights in it")
        if self._numbers is None and func._schema.name.endswith("_"):
            # What changes numbers in place has none to change; torch would import its compiler for some of them.
            return args[0]
        return func(*args, **(kwargs or {}))
