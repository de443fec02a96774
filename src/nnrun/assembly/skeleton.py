"""Compare the network of an untrusted config with the weights in its file before it takes memory or time.

A checkpoint of a few kilobytes can ask for a network of many gigabytes. On torch's `meta` device a network has names
and shapes, but no numbers.
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

# Maximum number of torch calls. Creating a weight takes 2 to 13, in nnrun's networks and in those of the libraries.
_STEPS, _STEPS_FOR_A_WEIGHT = 4_000, 40
# Maximum number of elements that a network may allocate that cannot be built on `meta`: weights and their random draws.
_NUMBERS, _NUMBERS_FOR_ONE = 2**24, 3
# Maximum number of elements of an object without weights in the file, such as a loss.
_MAX_SMALL = 2**24
# Maximum number of torch calls for a config that the user wrote.
_MOST_STEPS = 10**9
# Classes that can be built on `meta`; others, from libraries or custom, may read numbers.
_PLAIN = (
    "nnrun.components.models.mlp.",
    "nnrun.components.models.cnn.",
    "nnrun.components.models.resnet18.",
    "nnrun.components.models.vgg.",
    "nnrun.components.models.bag.",
    "nnrun.components.models.textcnn.",
    "nnrun.components.models.recurrent.",
    "nnrun.components.models.text_transformer.",
    "torch.nn.",
)


def build_network(section: Mapping[str, Any], weights: Mapping[str, Tensor | StoredTensor], path: Path) -> nn.Module:
    """Return the network of a section from a file, after checking that the file's weights fit; they are not loaded.

    Raises ArtifactError where names or shapes differ, before taking more memory than the weights do; ConfigError where
    the network cannot be built.
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
    """Raise OutOfMemory where the training of one of nnrun's networks needs more memory than this machine has.

    Counts weights and gradients, not the optimizer's state. Without this check a system that overcommits memory would
    kill the process.
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
            f"out of memory: {target.rpartition('.')[2]} would have {count:,} parameters; training them takes more "
            f"than {num_bytes / 1e9:.0f} GB, and {usable / 1e9:.0f} GB are available"
        )
        raise OutOfMemory(what, "smaller settings of model", "another model")


def check_small(section: Mapping[str, Any], name: str) -> None:
    """Raise ArtifactError where the object of a section from a file, which has no weights to compare with, is large."""
    try:
        with torch.device("meta"), _Limits(_STEPS):
            made = build(section, name, object)
    except ConfigError:
        return  # reported when the object itself is built
    held = tree_leaves(vars(made)) if hasattr(made, "__dict__") else []
    for module in made.modules() if isinstance(made, nn.Module) else ():
        held += [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    count = sum(leaf.numel() for leaf in {id(leaf): leaf for leaf in held}.values() if isinstance(leaf, Tensor))
    if count > _MAX_SMALL:
        raise ArtifactError(f"{name}: {section['_target_']} allocates {count:,} numbers that are not in the file")


class _Limits(TorchDispatchMode):
    """Raise ArtifactError after too many torch calls or allocated elements."""

    def __init__(self, num_steps: int, num_numbers: int | None = None) -> None:
        super().__init__()
        self._steps, self._numbers = num_steps, num_numbers

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Avoid importing torch's compiler, which takes as long as importing torch: nothing is compiled here."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        self._steps -= 1
        size = args[0] if args and isinstance(args[0], list | tuple) else ()
        if self._numbers is not None and all(isinstance(length, int) for length in size):
            self._numbers -= math.prod(size)
        if self._steps < 0 or (self._numbers or 0) < 0:
            raise ArtifactError("the network that the file asks for is larger than the weights in it")
        if self._numbers is None and func._schema.name.endswith("_"):
            # In-place functions have no numbers to change; for some of them torch would import its compiler.
            return args[0]
        return func(*args, **(kwargs or {}))
