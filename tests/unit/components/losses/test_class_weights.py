"""Weights of classes: the values of `balanced`, and what losses make of them, against formulas and torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from nnrun.base.errors import ConfigError, DataError
from nnrun.components.losses.class_weights import OnDevice, class_weights
from nnrun.components.losses.cross_entropy import CrossEntropy
from nnrun.components.losses.focal import Focal

COUNTS = [50, 30, 20]
BALANCED = [100 / (3 * 50), 100 / (3 * 30), 100 / (3 * 20)]


def some(num_classes: int = 3, scale: float = 3.0):
    torch.manual_seed(0)
    return scale * torch.randn(20, num_classes), torch.randint(num_classes, (20,))


def test_balanced_is_the_formula():
    """As scikit-learn's compute_class_weight gives it; over the training part the weights average to 1."""
    weights = class_weights("balanced", COUNTS, "loss.weight")
    assert weights.tolist() == pytest.approx(BALANCED)
    assert (weights * torch.tensor(COUNTS)).sum().item() == pytest.approx(sum(COUNTS))
    from sklearn.utils.class_weight import compute_class_weight

    targets = torch.arange(3).repeat_interleave(torch.tensor(COUNTS)).numpy()
    theirs = compute_class_weight("balanced", classes=torch.arange(3).numpy(), y=targets)
    assert weights.tolist() == pytest.approx(theirs.tolist())


@pytest.mark.parametrize(
    ("weights", "counts", "kind", "says"),
    [
        ([1.0, 2.0], COUNTS, ConfigError, "loss.weight is [1.0, 2.0]; allowed: one weight for each of the 3 classes"),
        ("balanced", [3, 0, 2], DataError, "loss.weight=balanced: class 1 (counted from 0) has no training samples"),
        ("balanced", None, ConfigError, "needs loss.class_counts"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, counts, kind, says):
    with pytest.raises(kind) as raised:
        class_weights(weights, counts, "loss.weight")
    assert says in str(raised.value)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [[1.0, 4.0, 0.5], "balanced"])
def test_a_weighted_cross_entropy_is_torchs(weight, smoothing):
    """Negative control: without weights it is another."""
    logits, targets = some()
    factors = torch.tensor(BALANCED if weight == "balanced" else weight)
    expected = functional.cross_entropy(logits, targets, factors, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(CrossEntropy(smoothing, weight, COUNTS)(logits, targets), expected)
    assert not torch.allclose(CrossEntropy(smoothing)(logits, targets), expected)


def test_the_mean_is_over_samples_and_not_over_weights():
    """Two samples, of weights 1 and 3, each with the cross-entropy log 2: the mean is 2 log 2. Torch's own is log 2."""
    logits, targets, log2 = torch.zeros(2, 2), torch.tensor([0, 1]), torch.tensor(2.0).log()
    losses = CrossEntropy(weight=[1.0, 3.0])(logits, targets)
    torch.testing.assert_close(losses, torch.tensor([1.0, 3.0]) * log2)
    torch.testing.assert_close(losses.mean(), 2 * log2)
    torch.testing.assert_close(functional.cross_entropy(logits, targets, torch.tensor([1.0, 3.0])), log2)


def test_focal_by_hand():
    """p = 0.9 of the true class: (1 - 0.9)^2 * -log 0.9; with alpha 0.25 a quarter of it."""
    logits, targets = torch.tensor([[0.9, 0.1], [0.9, 0.1]]).log(), torch.tensor([0, 1])
    expected = torch.tensor([0.01 * 0.1053605, 0.81 * 2.3025851])
    torch.testing.assert_close(Focal(2.0)(logits, targets), expected, rtol=1e-5, atol=1e-8)
    weighted = Focal(2.0, [0.25, 0.75])(logits, targets)
    torch.testing.assert_close(weighted, expected * torch.tensor([0.25, 0.75]), rtol=1e-5, atol=1e-8)


def test_focal_without_gamma_is_the_cross_entropy():
    """Negative control: with one it is less, and less by more where the sample is right already."""
    logits, targets = some()
    plain = CrossEntropy(weight="balanced", class_counts=COUNTS)(logits, targets)
    torch.testing.assert_close(Focal(0.0, "balanced", COUNTS)(logits, targets), plain)
    assert (Focal(2.0, "balanced", COUNTS)(logits, targets) < plain).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_the_gradient_of_focal_is_that_of_the_formula_in_fp64_and_finite_where_p_is_1(gamma):
    logits, targets = some()
    logits.requires_grad_()
    Focal(gamma)(logits, targets).sum().backward()
    exact = logits.detach().double().requires_grad_()
    p = exact.softmax(1).gather(1, targets[:, None])[:, 0]
    (-((1 - p) ** gamma) * p.log()).sum().backward()
    torch.testing.assert_close(logits.grad, exact.grad.float(), rtol=1e-4, atol=1e-6)
    certain = torch.tensor([[200.0, 0.0]], requires_grad=True)
    losses = Focal(gamma)(certain, torch.tensor([0]))
    losses.sum().backward()
    assert losses.tolist() == [0.0]
    assert torch.isfinite(certain.grad).all()


def test_a_weight_brought_to_a_device_by_an_evaluation_serves_a_training_after_it():
    """Of a run that goes on with a validation. Negative control: what inference mode makes is no part of a graph."""
    device = torch.device("meta")
    kept = OnDevice(torch.ones(3))
    with torch.inference_mode():
        assert not kept.to(device).is_inference()
        assert torch.ones(3).to(device).is_inference()


@pytest.mark.parametrize("loss", [Focal(), CrossEntropy()])
def test_scores_in_half_precision_give_fp32_losses(loss):
    logits, targets = some()
    assert loss(logits.bfloat16(), targets).dtype == torch.float32
