"""Every draw is a function of (seed, purpose, epoch, index)."""

from __future__ import annotations

import itertools

import pytest
import torch

from nnrun.core.randomness import INIT, ORDER, SPLIT, STEP, generator, mix, permutation, seed_step, seed_weights

CPU = torch.device("cpu")


def splitmix_finaliser(state: int) -> int:
    """The reference, written as in Steele et al. 2014, figure 17, on 64-bit words."""
    word = 2**64
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % word
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % word
    return state ^ (state >> 31)


def test_mix_of_one_number_is_splitmix64():
    """SplitMix64 seeded with 0 gives 0xE220A8397B1DCDAF first, a published vector; a seed keeps its upper 63 bits."""
    assert mix(0) == 0xE220A8397B1DCDAF >> 1
    for number in (0, 1, 2**63 - 1):
        assert mix(number) == splitmix_finaliser((number + 0x9E3779B97F4A7C15) % 2**64) >> 1


@pytest.mark.parametrize(
    ("numbers", "seed"),
    [
        ((INIT, 0), 6017775124710473527),
        ((ORDER, 0, 0), 6396520470166291297),
        ((STEP, 7, 3, 41), 4077625143956032221),
        ((SPLIT, 2**63 - 1), 2367801569636530913),
    ],
)
def test_seeds_stay_what_they_are(numbers, seed):
    """Another value here means that no saved run can be resumed or repeated."""
    assert mix(*numbers) == seed


def test_mix_gives_distinct_seeds_that_a_generator_takes():
    tuples = list(itertools.product(range(4), (0, 1, 2, 2**63 - 1), range(12), range(12)))
    seeds = {mix(*numbers) for numbers in tuples}
    assert len(seeds) == len(tuples)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_order_and_the_number_of_what_is_mixed_count():
    assert mix(1, 2) != mix(2, 1)
    assert mix(1) != mix(1, 0)
    assert mix(0) != mix(0, 0)


def test_a_permutation_is_a_function_of_seed_and_epoch():
    expected = permutation(50, seed=3, epoch=4)
    torch.manual_seed(99)
    torch.randn(7)
    before = torch.get_rng_state()
    assert torch.equal(permutation(50, seed=3, epoch=4), expected)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(expected.sort().values, torch.arange(50))
    for other in (permutation(50, 3, 5), permutation(50, 4, 4)):
        assert not torch.equal(other, expected)


def test_the_first_order_stays_what_it_is():
    assert permutation(8, 0, 0).tolist() == [7, 0, 6, 2, 3, 4, 1, 5]


def test_streams_of_one_seed_are_distinct():
    draws = [torch.rand(4, generator=generator(purpose, 0)) for purpose in (INIT, ORDER, STEP, SPLIT)]
    assert all(not torch.equal(one, other) for one, other in itertools.combinations(draws, 2))


def dropout_mask(epoch: int, batch: int, seed: int = 0) -> list[float]:
    seed_step(CPU, seed, epoch, batch)
    return torch.nn.functional.dropout(torch.ones(64), 0.5).tolist()


def test_a_batch_has_its_own_dropout_whatever_was_drawn_before():
    first = dropout_mask(2, 5)
    torch.rand(1000)
    assert dropout_mask(2, 5) == first
    others = [dropout_mask(2, 6), dropout_mask(3, 5), dropout_mask(2, 5, seed=1)]
    assert all(other != first for other in others)


def test_weights_are_a_function_of_the_seed():
    def weights(seed: int) -> list[float]:
        seed_weights(seed)
        return torch.nn.Linear(3, 3).weight.flatten().tolist()

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)
