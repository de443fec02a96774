"""Prove with one step that every trainable parameter gets a finite gradient, or name those that do not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

# A gradient is called vanishing below this part of the largest one of the network, by root mean square.
VANISHING_FRACTION = 1e-6


@dataclass(frozen=True)
class Proof:
    """The names of the trainable parameters with a gradient that is not as it should be.

    `missing`: no gradient at all, as that of a layer whose output is not used. `not_finite`: NaN or infinite.
    `zero`: exactly zero, also after an update. These three fail the proof. `late`: zero in the first step and not in
    the second, as behind a factor that begins at zero. `vanishing`: more than zero, and less than a millionth of the
    largest.
    """

    loss: float
    missing: tuple[str, ...]
    not_finite: tuple[str, ...]
    zero: tuple[str, ...]
    late: tuple[str, ...]
    vanishing: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every trainable parameter gets a finite gradient."""
        return not (self.missing or self.not_finite or self.zero)

    def to_json(self) -> dict[str, Any]:
        """Return the proof as plain values; a loss that is no number is null."""
        return {"ok": self.ok, **asdict(self), "loss": self.loss if math.isfinite(self.loss) else None}


def prove(network: nn.Module, loss: float, step_again: Callable[[], object]) -> Proof:
    """Judge the gradients that one step has left in a network whose loss was `loss`.

    `step_again` makes an update and another step; it is called only where a gradient is zero, and changes the network.
    """
    sizes = gradient_sizes(network)
    missing = tuple(name for name, size in sizes.items() if size is None)
    known = {name: size for name, size in sizes.items() if size is not None}
    not_finite = tuple(name for name, size in known.items() if not math.isfinite(size))
    zero = tuple(name for name, size in known.items() if size == 0)
    largest = max((size for size in known.values() if math.isfinite(size)), default=0.0)
    vanishing = tuple(name for name, size in known.items() if 0 < size < VANISHING_FRACTION * largest)
    late: tuple[str, ...] = ()
    if zero and not not_finite:
        step_again()
        later = gradient_sizes(network)
        late = tuple(name for name in zero if later[name])
    return Proof(loss, missing, not_finite, tuple(name for name in zero if name not in late), late, vanishing)


@torch.no_grad()
def gradient_sizes(network: nn.Module) -> dict[str, float | None]:
    """Return the root mean square of each trainable parameter's gradient by name; None without one.

    Waits for the device.
    """
    sizes: dict[str, float | None] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            gradient = parameter.grad
            # In fp64 on the host: the square of what an fp32 holds may not be one.
            sizes[name] = None if gradient is None else gradient.cpu().double().square().mean().sqrt().item()
    return sizes
