"""ONNX by tracing the network: torch's older exporter, which takes a tenth of a second; the newer takes three.

The newer one first imports torch's compiler and a library of operators. The older one records one call of the network,
and warns if another call might take another path. Then, and if it fails, the newer one is used.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from nnrun.core.seams.data import Tree

if TYPE_CHECKING:
    from onnx import ModelProto

# The newest version that the older one can write, and the default of the newer one.
_OPSET = 20
_BATCH = {0: "batch"}
# Warnings that the older exporter is deprecated.
_NO_MATTER = (DeprecationWarning, FutureWarning)
# Functions that turn tensors into Python numbers: code may branch on them, and a trace records them as constants. It
# warns of some, unless that code suppresses warnings. _FLOORS: it divides integers toward zero; torch rounds down.
_NUMBERS = {
    "item",
    "tolist",
    "numpy",
    "equal",
    "allclose",
    "is_nonzero",
    "__bool__",
    "__int__",
    "__float__",
    "__index__",
}
_FLOORS = {"floor_divide", "floor_divide_", "__floordiv__", "__rfloordiv__", "__ifloordiv__"}


# A trace of torch's recurrent layers warns of sizes that they compare, and the exporter of lengths that differ, where
# the initial state may have a fixed size. Verification shows whether it has.
_RECURRENT, _LENGTHS = "torch/nn/modules/rnn.py", "with a variable length with"


def _is_harmless(warning: warnings.WarningMessage) -> bool:
    """Return whether a warning does not say that a trace may be incomplete."""
    is_of_lengths = warning.filename.endswith(_RECURRENT) or _LENGTHS in str(warning.message)
    return is_of_lengths or issubclass(warning.category, _NO_MATTER)


def _is_of_sizes(warning: warnings.WarningMessage) -> bool:
    """Return whether a warning may be of a decision by sizes, which are tensors in a trace and numbers in a call."""
    return _is_harmless(warning) or issubclass(warning.category, torch.jit.TracerWarning)


class _NotTracedError(Exception):
    """A network does something that a trace cannot record."""


class _Watching(TorchFunctionMode):
    """Raise if a call of a network does something that a trace cannot record."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = kwargs or {}
        if getattr(func, "__name__", "") in _NUMBERS | _FLOORS or known.get("rounding_mode") == "floor":
            raise _NotTracedError
        return func(*args, **known)


class _OfLeaves(nn.Module):
    """A network that takes the tensors of its input one by one: the older exporter takes no trees."""

    def __init__(self, network: nn.Module, form: TreeSpec) -> None:
        super().__init__()
        self.network = network
        self.form = form

    def forward(self, *leaves: Tensor) -> Tensor:
        return self.network(tree_unflatten(leaves, self.form))


def traced_by_sizes(  # noqa: PLR0913, PLR0917 - as `traced`
    network: nn.Module,
    example: Tree,
    names: Sequence[str],
    output: str,
    opset: int | None,
    free: Sequence[Mapping[int, str]] | None = None,
) -> ModelProto | None:
    """Do the same for a network that decides by the sizes of its input, such as whether an image must be padded.

    Nothing in a call depends on values, and only the number of samples differs between calls: None unless the trace is
    the same for three of them.
    """
    if free is not None and any(set(of) != {0} for of in free):
        return None
    leaves, form = tree_flatten(example)
    number = len(leaves[0])
    found = []
    for places in (list(range(number)), [0], [*range(number), 0]):
        some = tree_unflatten([leaf[places] for leaf in leaves], form)
        found.append(traced(network, some, names, output, opset, free, is_harmless=_is_of_sizes))
        if found[-1] is None or found[-1] != found[0]:
            return None
    return found[0]


def traced(  # noqa: PLR0913, PLR0917 - as torch.onnx.export takes them
    network: nn.Module,
    example: Tree,
    names: Sequence[str],
    output: str,
    opset: int | None,
    free: Sequence[Mapping[int, str]] | None = None,
    is_harmless: Callable[[warnings.WarningMessage], bool] = _is_harmless,
) -> ModelProto | None:
    """Return a network in eval mode as ONNX with a dynamic batch size; None if a trace may not be complete.

    `free` names the dimensions of each input that are not fixed.

    That is the case after any warning that says so, for data-dependent control flow, and if the export fails.
    """
    if (opset or 0) > _OPSET:
        return None
    import onnx  # noqa: PLC0415 - a run that exports nothing does not pay for it

    leaves, form = tree_flatten(example)
    axes = [_BATCH] * len(leaves) if free is None else free
    file = io.BytesIO()
    # A network may keep sizes between its calls: while it is traced they are tensors, which the newer exporter refuses.
    kept = [(module, dict(vars(module))) for module in network.modules()]
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with torch.no_grad(), _Watching():
                network(example)
            torch.onnx.export(
                # In eval mode: the exporter gives each part the mode of the whole afterwards.
                _OfLeaves(network, form).eval(),
                tuple(leaves),
                file,  # type: ignore[arg-type]
                dynamo=False,
                input_names=list(names),
                output_names=[output],
                dynamic_axes={name: dict(of) for name, of in zip(names, axes, strict=True)} | {output: dict(_BATCH)},
                opset_version=opset or _OPSET,
            )
    except Exception:
        return None  # the newer one reports the error
    finally:
        for module, attributes in kept:
            vars(module).clear()
            vars(module).update(attributes)
    if not all(map(is_harmless, caught)):
        return None
    return onnx.load_model_from_string(file.getvalue())
