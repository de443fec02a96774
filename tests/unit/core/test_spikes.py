"""Which losses count as a spike."""

from __future__ import annotations

import pytest

from nnrun.core.spikes import Spikes

FALLING = [2.3 * 0.97**step for step in range(150)]


def spikes_in(losses: list[float]) -> list[int]:
    spikes = Spikes()
    return [step for step, loss in enumerate(losses) if spikes.is_spike(loss)]


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        (FALLING, []),
        ([*FALLING, 9.0, *FALLING[-20:]], [150]),
        ([*FALLING, 9.0, 9.0, 9.0], [150, 151, 152]),
        # Once the loss is small, one wrong sample multiplies it: that is no spike.
        ([2.3] * 20 + [0.001] * 60 + [0.9], []),
        ([2.3] * 20 + [0.001] * 60 + [1.5], [80]),
        # Too few losses to compare with.
        ([2.3] * 19 + [100.0], []),
        ([2.3] * 20 + [100.0], [20]),
        # A loss that may be negative, such as a log likelihood of densities.
        ([-5.0] * 60 + [-1.0], []),
        ([0.0] * 60, []),
    ],
)
def test_a_spike_is_far_above_the_losses_before_it_and_not_small(losses: list[float], found: list[int]) -> None:
    assert spikes_in(losses) == found
