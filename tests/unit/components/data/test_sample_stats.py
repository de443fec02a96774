"""Measures of samples are the same in one piece and in many, in memory and in a file."""

from __future__ import annotations

import math
import statistics

import pytest
import torch

from nnrun.components.data import sample_stats
from nnrun.components.data.sample_stats import Measures

PIXELS = torch.randint(0, 256, (50, 3, 4, 5), generator=torch.Generator().manual_seed(0)).byte()
LARGE = torch.randint(0, 256, (3, 1, 200, 200), generator=torch.Generator().manual_seed(1)).byte()
FLOATS = torch.randn(50, 2, 3, 3, generator=torch.Generator().manual_seed(2)) * 1e3
ALL = pytest.mark.parametrize("samples", [PIXELS, LARGE, FLOATS], ids=["pixels", "large", "floats"])


def columns(measures: Measures) -> list[list]:
    return [getattr(measures, name).tolist() for name in ("digests", "originals", "sums", "squares")]


@ALL
def test_parts_make_the_whole_and_a_file_gives_it_back(samples, tmp_path):
    whole = Measures.of(samples)
    parts = [Measures.of(part) for part in samples.split(7)]
    for again in (Measures.together(parts), Measures.together(iter(parts), len(samples))):
        assert columns(again) == columns(whole)
        assert again.sums.dtype == whole.sums.dtype
    packed = b"".join(whole.packed())
    read = Measures.unpacked(torch.frombuffer(bytearray(packed), dtype=torch.uint8))
    assert (columns(read), read.num_values) == (columns(whole), whole.num_values)
    assert columns(read.subset(torch.tensor([2, 0]))) == [[column[2], column[0]] for column in columns(whole)]


def test_small_samples_are_their_own_originals_and_hold_their_digests_once():
    small, large = Measures.of(PIXELS), Measures.of(LARGE)
    assert small.originals is small.digests
    assert small.subset(torch.tensor([1])).originals.tolist() == small.digests[1:2].tolist()
    assert large.originals.tolist() != large.digests.tolist()
    given = Measures.of(PIXELS, small.digests + 1)
    assert Measures.together([given, given]).originals.tolist() == 2 * (small.digests + 1).tolist()


@pytest.mark.parametrize("place", [0, 31, 40, 100, -1])
def test_a_flipped_bit_is_found(place):
    packed = bytearray(b"".join(Measures.of(PIXELS).packed()))
    packed[place] ^= 1
    with pytest.raises(ValueError, match="damaged measures"):
        Measures.unpacked(torch.frombuffer(packed, dtype=torch.uint8))


@ALL
def test_mean_and_deviation_are_those_of_all_values(samples, monkeypatch):
    monkeypatch.setattr(sample_stats, "_CHUNK_SAMPLES", 7)
    mean, std = Measures.of(samples).mean_and_std()
    scale = 255 if samples.dtype == torch.uint8 else 1
    for channel in range(samples.shape[1]):
        values = (samples[:, channel].double() / scale).flatten().tolist()
        assert mean[channel] == pytest.approx(statistics.fmean(values), rel=1e-5)
        assert std[channel] == pytest.approx(statistics.pstdev(values), rel=1e-5)


def test_sums_of_very_many_samples_do_not_overflow():
    """Negative control: int32 holds no more than 33,000 squares of 255."""
    measures = Measures.of(torch.full((40, 1, 8, 8), 255, dtype=torch.uint8)).subset(torch.zeros(10**6).long())
    assert measures.sums.dtype == torch.int32
    assert measures.mean_and_std() == ((1.0,), (1.0,))
    assert Measures.of(torch.full((1, 1, 200, 200), 255, dtype=torch.uint8)).squares.item() == 255**2 * 40_000


def test_floats_are_added_up_exactly():
    values = torch.tensor([1e30, 1.0, -1e30] * 3000).view(-1, 1, 1, 1)
    mean, _ = Measures.of(values).mean_and_std()
    assert mean == (float(f"{math.fsum(values.flatten().tolist()) / len(values):.6g}"),)
