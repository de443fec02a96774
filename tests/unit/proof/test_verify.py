"""The verification of an artifact, without a format: what it requires of both sides, and which reason it gives."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnrun.base.targets import Targets
from nnrun.components.problems.classification import Classification
from nnrun.core.seams.data import Split
from nnrun.proof.verify import Standard, verify

TARGETS = Targets.classes(("left", "middle", "right"))


class AsTheyAre:
    """A preprocessing that changes nothing."""

    def __call__(self, raw: Tensor) -> Tensor:
        return raw

    def to_plain(self) -> dict[str, Any]:
        return {}


class Changed:
    """A format whose artifact is the network itself, with its scores changed."""

    tolerance, min_agreement, preprocess = 1e-6, 0.99, True

    def __init__(self, network: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        self._network, self._change = network, change

    def export(self, model: nn.Module, context: object, folder: Path) -> Path:
        raise NotImplementedError

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        return lambda batch: self._change(self._network(batch))


@pytest.fixture
def standard() -> Standard:
    torch.manual_seed(0)
    network = nn.Linear(4, 3).eval()
    inputs = torch.randn(700, 4)
    targets = network(inputs).argmax(1)
    return Standard(network, AsTheyAre(), Classification(TARGETS), Split(inputs, targets))


def test_neither_side_keeps_what_a_backward_pass_would_need(standard: Standard, tmp_path: Path) -> None:
    """For a whole test split it would fill the memory: no call is made with gradients enabled."""
    modes: list[bool] = []
    standard.network.register_forward_hook(lambda *_: modes.append(torch.is_inference_mode_enabled()))
    proof = verify(tmp_path, Changed(standard.network, lambda scores: scores), standard)
    assert proof.ok
    assert len(modes) > 2 * len(proof.batch_sizes)
    assert all(modes)
    assert not standard.measured.outputs.requires_grad


def _nudged(scores: Tensor) -> Tensor:
    return scores + 1.0


def _with_nan(scores: Tensor) -> Tensor:
    return scores.masked_fill(scores == scores.max(), torch.nan)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda scores: scores, None),
        (_nudged, "scores differ by 1, more than"),
        (_with_nan, "scores differ by nan, more than"),
    ],
    ids=["same", "nudged", "nan"],
)
def test_the_reason_says_what_is_wrong_and_names_the_worst(
    change: Callable[[Tensor], Tensor], reason: str | None, standard: Standard, tmp_path: Path
) -> None:
    proof = verify(tmp_path, Changed(standard.network, change), standard)
    assert (proof.ok, proof.num_samples) == (reason is None, 700)
    if reason is None:
        assert (proof.reason, proof.worst, proof.agreement, proof.metric_eager) == (None, [], 1.0, 1.0)
    else:
        assert proof.reason is not None
        assert proof.reason.startswith(reason)
        assert len(proof.worst) == 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda scores: scores[:, :2], "it returns outputs of shape (700, 2) for the test split, but its network "),
        (lambda scores: scores[:1], "it returns outputs of shape "),
        (lambda scores: scores[:, 0], "it returns outputs of shape (700,) "),
        (lambda scores: scores.tolist(), "it returns a list for a batch, but its network returns a Tensor"),
        (lambda scores: sys.exit(0), "it cannot be run: SystemExit: 0"),
    ],
    ids=["a class less", "one sample a batch", "one number a sample", "no tensor", "leaves the process"],
)
def test_what_cannot_be_compared_is_rejected(
    change: Callable[[Tensor], Any], reason: str, standard: Standard, tmp_path: Path
) -> None:
    proof = verify(tmp_path, Changed(standard.network, change), standard)
    assert (proof.ok, proof.num_samples, proof.worst) == (False, 0, [])
    assert proof.reason is not None
    assert proof.reason.startswith(reason)


def test_the_samples_that_are_predicted_otherwise_are_the_worst(standard: Standard, tmp_path: Path) -> None:
    """If scores may differ freely, the predictions decide, and samples with different predictions come first."""
    standard.test.inputs[[10, 600]] *= 100
    exporter = Changed(standard.network, lambda scores: torch.where(scores.abs().amax(1, True) > 20, -scores, scores))
    exporter.tolerance, exporter.min_agreement = float("inf"), 1.0
    proof = verify(tmp_path, exporter, standard)
    assert proof.reason == f"{698 / 700:.2%} of the predictions agree, fewer than 100.00%"
    assert {row["index"] for row in proof.worst[:2]} == {10, 600}


def test_outputs_that_are_known_are_not_computed_again(standard: Standard, tmp_path: Path) -> None:
    """Negative control: outputs that are not the network's own are detected, and all are computed."""
    ran: list[int] = []
    own = standard.network(standard.test.inputs).detach()
    exporter = Changed(standard.network, lambda scores: scores)
    proofs = []
    standard.network.register_forward_hook(lambda *call: ran.append(len(call[1][0])))
    for outputs in (None, own, own.flip(0), own[:, :2]):
        ran.clear()
        known = replace(standard, outputs=outputs)
        proofs.append((verify(tmp_path, exporter, known), sum(ran)))
        # Another size of batch may be summed in another order.
        assert torch.allclose(known.measured.outputs, own, rtol=0, atol=1e-5)
    (plain, all_ran), (once, some_ran), (other, again), (narrow, _) = proofs
    assert all_ran - some_ran == 700 + 500 - (1 + 2 + 97 + 500 + 1), "neither the whole split nor a batch to warm up"
    assert again > all_ran
    same = [
        (p.ok, p.agreement, p.metric_eager, round(p.max_abs_diff, 5), p.num_samples)
        for p in (plain, once, other, narrow)
    ]
    assert len(set(same)) == 1
    assert once.samples_per_second_eager > 0
