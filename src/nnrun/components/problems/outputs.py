"""Check the shape of what a network gives for a batch."""

from __future__ import annotations

from torch import Tensor

from nnrun.base.errors import ConfigError
from nnrun.base.targets import Targets


def check_width(outputs: object, num_samples: int, targets: Targets, wanted: str) -> None:
    """Raise ConfigError unless a network gives a number for each target of each sample, `(N, K)`."""
    expected = (num_samples, targets.num_outputs)
    if isinstance(outputs, Tensor) and outputs.shape == expected:
        return
    gives = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
    raise ConfigError(
        f"model gives {gives} for a batch of {num_samples} samples; allowed: {wanted} of the {targets}, {expected}; "
        "give the model the number of outputs, ${data.num_outputs}"
        + (", and no squeeze() after its last layer" if gives == (num_samples,) else "")
    )
