"""Cross-entropy of each sample, against the formula."""

from __future__ import annotations

import pytest
import torch

from nnrun.components.losses.cross_entropy import CrossEntropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_equals_the_formula_for_each_sample(smoothing):
    torch.manual_seed(0)
    logits, targets = 3 * torch.randn(20, 5), torch.randint(5, (20,))
    log_probabilities = logits.double() - logits.double().logsumexp(1, keepdim=True)
    of_target = log_probabilities.gather(1, targets[:, None])[:, 0]
    expected = -(1 - smoothing) * of_target - smoothing * log_probabilities.mean(1)
    torch.testing.assert_close(CrossEntropy(smoothing)(logits, targets), expected.float())


def test_smoothing_has_an_effect():
    logits, targets = torch.tensor([[4.0, 0.0]]), torch.tensor([0])
    assert CrossEntropy(0.1)(logits, targets) > CrossEntropy(0.0)(logits, targets)


def test_half_precision_scores_give_fp32_losses_and_half_precision_gradients():
    """Negative control: computed in bf16 both losses below are 8.0, as the last line shows."""
    logits = torch.tensor([[8.0, 0.0], [8.0, -0.03125]], dtype=torch.bfloat16, requires_grad=True)
    losses = CrossEntropy()(logits, torch.tensor([1, 1]))
    assert losses.dtype == torch.float32
    assert (losses[1] - losses[0]).item() == pytest.approx(0.03125, rel=0.01)
    losses.sum().backward()
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16
    in_bf16 = torch.nn.functional.cross_entropy(logits, torch.tensor([1, 1]), reduction="none")
    assert in_bf16[0] == in_bf16[1]
