"""What networks of texts share: which tokens are padding, and means that do not look at it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nnrun.base.errors import ConfigError
from nnrun.core.ragged import PADDING


def check_tokens(in_shape: Any, network: str) -> None:
    """Raise ConfigError unless a sample is a text: the numbers of its tokens, in any length."""
    if list(in_shape) != [None]:
        allowed = f"texts of any length, as data=text has ({network} takes the numbers of tokens)"
        raise ConfigError.of("data.in_shape", in_shape, allowed, "choose another model")


def is_token(tokens: Tensor) -> Tensor:
    """Return which entries of `(N, L)` are tokens, as booleans; the others are padding."""
    return tokens != PADDING


def mean_of(states: Tensor, there: Tensor) -> Tensor:
    """Return the mean over the positions of `(N, L, D)` that are `there`, `(N, L)`; zeros where none is."""
    return sum_of(states, there) / there.sum(1, keepdim=True).clamp(min=1)


def sum_of(states: Tensor, there: Tensor) -> Tensor:
    """Return the sum over the positions of `(N, L, D)` that are `there`, `(N, L)`, without a copy of the states."""
    return torch.bmm(there.to(states.dtype)[:, None], states)[:, 0]


def largest_of(states: Tensor, there: Tensor) -> Tensor:
    """Return the maximum over the positions of `(N, L, D)` that are `there`, `(N, L)`; zeros where none is."""
    least = torch.finfo(states.dtype).min
    largest = states.masked_fill(~there[:, :, None], least).amax(1)
    return torch.where(there.any(1)[:, None], largest, torch.zeros_like(largest))
