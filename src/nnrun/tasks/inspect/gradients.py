"""Check in one step that every trainable parameter gets a finite gradient, and name those that do not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

# A gradient is called vanishing below this fraction of the network's largest one, by root mean square.
VANISHING_FRACTION = 1e-6


@dataclass(frozen=True)
class Proof:
    """The names of the trainable parameters whose gradients are faulty or unusual.

    `missing`: no gradient at all, as in a layer whose output is not used. `not_finite`: NaN or infinite. `zero`:
    exactly zero, also after an update. These three fail the check. `late`: zero in the first step but not in the
    second, as before a factor that starts at zero. `vanishing`: not zero, but less than a millionth of the largest.
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
        """Return it as plain values; a loss that is NaN or infinite becomes null."""
        return {"ok": self.ok, **asdict(self), "loss": self.loss if math.isfinite(self.loss) else None}


def prove(network: nn.Module, loss: float, step_again: Callable[[], object]) -> Proof:
    """Judge the gradients that a step with the loss `loss` left in a network.

    `step_again` makes an update and another step; it is called only if a gradient is zero, and changes the network.
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
    """Return the root mean square of each trainable parameter's gradient, by name; None if it has none.

    Waits for the device.
    """
    sizes: dict[str, float | None] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            gradient = parameter.grad
            # In fp64 on the host: the square of an fp32 number may overflow or underflow in fp32.
            sizes[name] = None if gradient is None else gradient.cpu().double().square().mean().sqrt().item()
    return sizes
