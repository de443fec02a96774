"""ONNX by a trace of the network: torch's older exporter, which takes a tenth of a second where the newer takes three.

The newer one imports torch's compiler and a library of operators first. The older follows one call of the network, and
warns where another call might take another way: then, and where it fails, the newer one is asked.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nnrun.core.seams.data import Tree

if TYPE_CHECKING:
    from onnx import ModelProto

# What the newer one writes, unless another version is asked for, and the newest that the older one can write.
_OPSET = 20
# That it is the older one.
_NO_MATTER = (DeprecationWarning, FutureWarning)
# What makes numbers of tensors: code may decide by them, and a trace takes them for constants. It warns of some, unless
# that code keeps warnings silent. Whole numbers it divides towards zero, where torch rounds down.
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


class _NotTracedError(Exception):
    """A network does what a trace does not tell."""


class _Watching(TorchFunctionMode):
    """Raise where a call of a network does what a trace does not tell."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = kwargs or {}
        if getattr(func, "__name__", "") in _NUMBERS | _FLOORS or known.get("rounding_mode") == "floor":
            raise _NotTracedError
        return func(*args, **known)


def traced(
    network: nn.Module, example: Tree, names: Sequence[str], output: str, opset: int | None
) -> ModelProto | None:
    """Return a network in eval mode as ONNX, its batch dynamic; None where a trace may not tell all of it.

    So it is where the network takes more than one tensor, where anything is warned of, where numbers of the data decide
    what is computed, and where it fails.
    """
    if not isinstance(example, Tensor) or (opset or 0) > _OPSET:
        return None
    import onnx  # noqa: PLC0415 - a run that exports nothing does not pay for it

    (name,) = names
    file = io.BytesIO()
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with torch.no_grad(), _Watching():
                network(example)
            torch.onnx.export(
                network,
                (example,),
                file,  # type: ignore[arg-type]
                dynamo=False,
                input_names=[name],
                output_names=[output],
                dynamic_axes={name: {0: "batch"}, output: {0: "batch"}},
                opset_version=opset or _OPSET,
            )
    except Exception:
        return None  # what is wrong, the newer one says
    if any(not issubclass(warning.category, _NO_MATTER) for warning in said):
        return None
    return onnx.load_model_from_string(file.getvalue())
