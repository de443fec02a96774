"""Check the shape of a network's output for a batch."""

from __future__ import annotations

from torch import Tensor

from nnrun.base.errors import ConfigError
from nnrun.base.shown import counted
from nnrun.base.targets import Targets


def check_width(outputs: object, num_samples: int, targets: Targets, wanted: str) -> None:
    """Raise ConfigError unless a network's output has a number for each target of each sample, `(N, K)`."""
    expected = (num_samples, targets.num_outputs)
    if isinstance(outputs, Tensor) and outputs.shape == expected:
        return
    gives = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
    raise ConfigError(
        f"model returns {gives} for a batch of {counted(num_samples, 'sample')}; allowed: {wanted} of the {targets}, "
        f"{expected}; "
        "set the model's number of outputs to ${data.num_outputs}"
        + (", and remove a squeeze() after its last layer" if gives == (num_samples,) else "")
    )
