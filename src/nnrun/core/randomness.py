"""Every random draw as a pure function of (seed, purpose, epoch, index), so that a run can resume from anywhere.

The index of a batch's draws is the number that World.stream returns for it: in a single process, the batch's own.
"""

from __future__ import annotations

import hashlib
import random
import sys

import torch
from torch import Tensor

from nnrun.core.device import is_gpu, seed_device

# Purposes, so that no two streams of one seed coincide.
INIT, ORDER, STEP, SPLIT, TEST_SPLIT, AUGMENT, LIMIT, BATCH_ORDER, COLUMNS = range(9)
_MASK = 2**64 - 1


def mix(*numbers: int) -> int:
    """Return a seed in [0, 2**63) from integers, by SplitMix64's finalizer (Steele et al. 2014)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def generator(*numbers: int) -> torch.Generator:
    """Return a generator on the host, seeded by `mix`."""
    return torch.Generator().manual_seed(mix(*numbers))


def permutation(length: int, seed: int, epoch: int) -> Tensor:
    """Return the order of an epoch's samples, `(length,)`, on the host: the same on every device."""
    return torch.randperm(length, generator=generator(ORDER, seed, epoch))


def seed_weights(seed: int) -> None:
    """Seed the draws that initialize a network."""
    torch.manual_seed(mix(INIT, seed))


def seed_step(device: torch.device, seed: int, epoch: int, batch: int) -> None:
    """Seed the draws of one batch (dropout, stochastic layers)."""
    seed_device(device, mix(STEP, seed, epoch, batch))


def host_draws(device: torch.device) -> str:
    """Return the states of the host's generators, beside that of a device, in a form to compare."""
    states: list[object] = [random.getstate()]
    if is_gpu(device):
        states.append(torch.get_rng_state().tolist())
    if numpy := sys.modules.get("numpy"):
        states.append(numpy.random.get_state()[1:3])
    return hashlib.sha256(repr(states).encode()).hexdigest()
