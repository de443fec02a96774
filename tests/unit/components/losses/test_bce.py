"""Binary cross-entropy of several labels, against the formula, torch's own and scikit-learn's."""

from __future__ import annotations

import pytest
import torch

from nnrun.base.errors import ConfigError, DataError
from nnrun.components.losses.bce import BinaryCrossEntropy, positive_weights


def some() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return 3 * torch.randn(20, 4), (torch.rand(20, 4) < 0.4).float()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, [1.0, 4.0, 0.5, 2.0]])
def test_equals_the_formula_for_each_sample(smoothing, weight):
    """Negative control: without weight and smoothing it is another."""
    logits, targets = some()
    smooth = targets.double() * (1 - smoothing) + smoothing / 2
    factor = torch.tensor(weight or [1.0] * 4, dtype=torch.float64)
    p = logits.double().sigmoid()
    expected = -(factor * smooth * p.log() + (1 - smooth) * (1 - p).log()).mean(1)
    losses = BinaryCrossEntropy(weight, smoothing)(logits, targets)
    torch.testing.assert_close(losses, expected.float())
    if weight or smoothing:
        assert not torch.allclose(BinaryCrossEntropy()(logits, targets), expected.float())


def test_the_mean_is_scikit_learns_log_loss():
    from sklearn.metrics import log_loss

    logits, targets = some()
    p = logits.double().sigmoid().numpy()
    expected = sum(log_loss(targets[:, k].numpy(), p[:, k], labels=[0, 1]) for k in range(4)) / 4
    assert BinaryCrossEntropy()(logits, targets).mean().item() == pytest.approx(expected, rel=1e-5)


def test_balanced_is_samples_without_a_label_over_those_with_it():
    assert positive_weights("balanced", [10, 50, 80], 100).tolist() == pytest.approx([9.0, 1.0, 0.25])


@pytest.mark.parametrize(
    ("weights", "given", "kind", "says"),
    [
        (
            [1.0, 2.0],
            ([3, 4, 5], 9),
            ConfigError,
            "loss.pos_weight is [1.0, 2.0]; allowed: one weight for each of the 3",
        ),
        (
            "balanced",
            ([3, 0, 2], 9),
            DataError,
            "no sample in the training split has label 1 (counted from 0); set a list",
        ),
        (
            "balanced",
            ([3, 9, 2], 9),
            DataError,
            "every sample in the training split has label 1 (counted from 0); set a list",
        ),
        ("balanced", (None, None), ConfigError, "needs loss.label_counts and loss.num_samples"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, given, kind, says):
    with pytest.raises(kind) as raised:
        positive_weights(weights, *given)
    assert says in str(raised.value)


def test_scores_in_half_precision_give_fp32_losses():
    logits, targets = some()
    assert BinaryCrossEntropy()(logits.bfloat16(), targets).dtype == torch.float32


def test_large_scores_stay_finite():
    losses = BinaryCrossEntropy()(torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 1.0]]))
    assert losses.tolist() == [1e4]
