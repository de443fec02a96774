"""What a training is bound by, from tables of where its time went."""

from __future__ import annotations

import pytest

from nnrun.runs.bottleneck import Spent, bound_by


@pytest.mark.parametrize(
    ("shares", "precision", "bound", "advice"),
    [
        ((0.7, 0.8, None, 100), "fp32", "evaluation", "data.eval_batch_size"),
        ((0.1, 0.5, None, 100), "fp32", "data", "data.residency=device"),
        ((0.1, 0.1, None, 5), "fp32", "launches", "data.batch_size"),
        ((0.1, 0.1, None, 200), "fp32", "arithmetic", "trainer.precision=bf16"),
        ((0.1, 0.1, None, 200), "bf16", "arithmetic", "smaller network"),
        ((0.1, 0.1, 0.3, 5), "bf16", "launches", "trainer.compile=true"),
        ((0.1, 0.1, 0.9, 5), "bf16", "arithmetic", "trainer.compile=true may help"),
    ],
)
def test_the_limit_is_named_with_what_to_change(shares, precision, bound, advice) -> None:
    """The shares are those of evaluation, of data, of a GPU's work, and the microseconds of an operation."""
    found, text = bound_by(Spent(*shares, precision, is_streamed=False))
    assert found == bound
    assert text.startswith(f"bound by {bound}: ")
    assert advice in text


def test_streamed_data_has_advice_of_its_own() -> None:
    assert "data.num_workers" in bound_by(Spent(0.0, 0.9, None, 9, "fp32", is_streamed=True))[1]
