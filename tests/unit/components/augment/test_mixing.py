"""MixUp and CutMix: shares, distribution, and what is mixed with what."""

from __future__ import annotations

import pytest
import torch

from nnrun.base.errors import ConfigError
from nnrun.components.augment.mixing import CutMix, HalfBeta, MixUp


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.2, 0.5, 1.0, 2.0, 8.0, 100.0])
def test_draws_are_those_of_a_folded_beta(alpha, generator):
    """Against torch.distributions, by the largest distance of the two distributions (Kolmogorov and Smirnov)."""
    torch.manual_seed(0)
    ours = HalfBeta(alpha).draw(torch.empty(20_000), generator).double().sort().values
    drawn = torch.distributions.Beta(*torch.tensor([alpha, alpha], dtype=torch.float64)).sample((20_000,))
    theirs = torch.minimum(drawn, 1 - drawn).sort().values
    assert ours.min() >= 0
    assert ours.max() <= 0.5
    places = torch.cat([ours, theirs]) + 1e-12
    distance = (torch.searchsorted(ours, places) - torch.searchsorted(theirs, places)).abs().max() / 20_000
    assert distance < 0.02
    other = HalfBeta(alpha * 1.5).draw(torch.empty(20_000), generator).double().sort().values
    apart = (torch.searchsorted(ours, places) - torch.searchsorted(other, places)).abs().max() / 20_000
    assert apart > 0.02, "the negative control: another alpha is told apart"


def test_mixup_is_the_average_by_the_share_of_every_leaf(generator):
    inputs = {"x": torch.randn(50, 3, 4), "more": (torch.randn(50, 2),)}
    others = {"x": torch.randn(50, 3, 4), "more": (torch.randn(50, 2),)}
    mixed, share = MixUp(1.0).mix(inputs, others, generator)
    assert share.shape == (50,)
    assert 0.5 <= share.min() < share.max() <= 1
    for sample in range(50):
        part = share[sample]
        expected = part * inputs["x"][sample] + (1 - part) * others["x"][sample]
        assert torch.allclose(mixed["x"][sample], expected, atol=1e-6)
        expected = part * inputs["more"][0][sample] + (1 - part) * others["more"][0][sample]
        assert torch.allclose(mixed["more"][0][sample], expected, atol=1e-6)


def test_mixup_of_what_has_no_average_is_refused(generator):
    numbers = torch.arange(6).view(3, 2)
    with pytest.raises(
        ConfigError, match=r"augment.mixup averages float samples, but these are torch.int64; remove it"
    ):
        MixUp().mix(numbers, numbers, generator)


def test_cutmix_puts_one_box_of_the_other_in_and_counts_it(generator):
    own, other = torch.zeros(2000, 2, 11, 14), torch.ones(2000, 2, 11, 14)
    mixed, share = CutMix((2, 11, 14)).mix(own, other, generator)
    assert torch.equal(mixed[:, 0], mixed[:, 1])
    box = mixed[:, 0] == 1
    height, width = box.any(2).sum(1), box.any(1).sum(1)
    assert torch.equal(height * width, box.sum(dim=(1, 2))), "each is one box"
    assert torch.allclose(share, 1 - box.sum(dim=(1, 2)) / 154)
    assert 0.5 <= share.min() < 0.6
    assert share.max() == 1
    assert box.double().mean(0).min() > 0.02, "every pixel has its turn"


def test_a_half_in_bf16_is_a_share_too(generator):
    inputs = torch.randn(8, 3).bfloat16()
    mixed, share = MixUp().mix(inputs, inputs.flip(0), generator)
    assert (mixed.dtype, share.dtype) == (torch.bfloat16, torch.float32)
