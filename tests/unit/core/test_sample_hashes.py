"""Hashes of samples are blake2b's, and comparing very many of them gives the same result as sorting them."""

from __future__ import annotations

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnrun.core import sample_hashes
from nnrun.core.sample_hashes import among, digests, identities


def test_the_digest_of_a_sample_is_blake2b_of_its_bytes():
    """If a hash changed, the hold-outs by content of older runs would change."""
    samples = torch.arange(3 * 2 * 5, dtype=torch.float32).view(3, 2, 5).transpose(1, 2)
    rows = [row.contiguous().numpy().tobytes() for row in samples]
    expected = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in rows)
    assert digests(samples).numpy().tobytes() == identities(samples).numpy().tobytes() == expected
    assert digests(samples[:0]).shape == (0,)


@pytest.mark.parametrize("few", [1, 2**14])
@given(
    ours=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
    theirs=st.lists(st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)),
)
def test_among_finds_what_sorting_finds(few, ours, theirs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample_hashes, "_FEW", few)
        patch.setattr(sample_hashes, "_LOOKED_UP", 3)
        mine, others = torch.tensor(ours, dtype=torch.int64), torch.tensor([*theirs, *ours[::2]], dtype=torch.int64)
        assert torch.equal(among(mine, others), torch.isin(mine, others))
        assert torch.equal(among(others, mine), torch.isin(others, mine))
