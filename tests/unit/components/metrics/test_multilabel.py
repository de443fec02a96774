"""Metrics of several labels at once, against scikit-learn and torchmetrics as oracles."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnrun.components.losses.bce import BinaryCrossEntropy
from nnrun.components.metrics.multilabel import (
    MultilabelMetrics,
    RunningLabels,
    average_precision,
    score_edges,
    uncertainty_of,
)
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.problem import Sums

CPU = torch.device("cpu")


def evaluate(
    metric: MultilabelMetrics | RunningLabels, scores: Tensor, targets: Tensor, batch_size: int = 8, fill: float = 50.0
) -> Sums:
    """Add up batch by batch, the last one padded with scores that would give every label, as the loop does."""
    sums = metric.init(CPU)
    for given_scores, true in zip(scores.split(batch_size), targets.split(batch_size), strict=True):
        missing = batch_size - len(true)
        weight = torch.cat([torch.ones(len(true)), torch.zeros(missing)])
        outputs = torch.cat([given_scores, torch.full((missing, true.shape[1]), fill)])
        batch = Batch(torch.empty(0), torch.cat([true, torch.zeros(missing, true.shape[1])]), weight, len(true))
        losses = BinaryCrossEntropy()(outputs, batch.targets)
        metric.update(sums, outputs, losses, batch)
    return sums


def draw(num_samples: int, num_labels: int, seed: int, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    """Scores that know something of labels of which some are rare."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.linspace(0.05, 0.6, num_labels)
    targets = (torch.rand(num_samples, num_labels, generator=generator) < share).float()
    scores = scale * (targets - share + torch.randn(num_samples, num_labels, generator=generator))
    return scores, targets


def sklearn_ap(targets: Tensor, scores: Tensor) -> Tensor:
    from sklearn.metrics import average_precision_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        columns = zip(targets.T.numpy(), scores.T.numpy(), strict=True)
        return torch.tensor([average_precision_score(*pair) for pair in columns], dtype=torch.float64)


def counts(metric: MultilabelMetrics, scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    negatives, positives = evaluate(metric, scores, targets, 100)["counts"].unbind(2)
    return positives, negatives


@settings(max_examples=30, deadline=None)
@given(
    num_samples=st.integers(1, 60),
    num_labels=st.integers(1, 5),
    batch_size=st.integers(1, 16),
    scale=st.sampled_from([1e-4, 1.0, 100.0]),
    seed=st.integers(0, 2**32),
)
def test_f1_equals_scikit_learn(num_samples, num_labels, batch_size, scale, seed):
    from sklearn.metrics import f1_score

    scores, targets = draw(num_samples, num_labels, seed, scale)
    metric = MultilabelMetrics(num_labels)
    values = metric.compute(evaluate(metric, scores, targets, batch_size))
    given_labels, true = (scores >= 0).numpy().astype(int), targets.numpy().astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        macro = f1_score(true, given_labels, average="macro", zero_division=np.nan)
        micro = f1_score(true, given_labels, average="micro", zero_division=0)
    if num_labels == 1:  # scikit-learn then has classes 0 and 1
        marks = true.sum() + given_labels.sum()
        micro = 2 * (true & given_labels).sum() / max(marks, 1)
        macro = micro if marks else math.nan
    assert values["f1_macro"] == pytest.approx(macro, nan_ok=True)
    assert values["f1_micro"] == pytest.approx(micro)
    assert values["loss"] == pytest.approx(BinaryCrossEntropy()(scores, targets).mean().item(), rel=1e-5)


@pytest.mark.parametrize("num_labels", [1, 20, 200])
@pytest.mark.parametrize("scale", [1e-3, 0.1, 3.0, 50.0])
def test_average_precision_is_within_a_thousandth_of_scikit_learns(num_labels, scale):
    """Of scores of any scale. Negative control: of scores rounded to 64 bins it is not."""
    scores, targets = draw(3000, num_labels, 0, scale)
    metric = MultilabelMetrics(num_labels)
    ours = average_precision(*counts(metric, scores, targets))
    theirs = sklearn_ap(targets, scores)
    # Of 200 labels there are half as many bins.
    assert (ours - theirs).abs().max() < (1e-3 if num_labels < 200 else 2e-3)
    values = metric.compute(evaluate(metric, scores, targets, 500))
    assert values["map"] == pytest.approx(theirs.mean().item(), abs=3e-4)
    few = MultilabelMetrics(num_labels)
    few.edges = score_edges(1)[:: 2**15 // 64].contiguous()
    assert (average_precision(*counts(few, scores, targets)) - theirs).abs().max() > 1e-3


@settings(max_examples=60, deadline=None)
@given(num_samples=st.integers(2, 200), scale=st.floats(1e-6, 1e5), ties=st.booleans(), seed=st.integers(0, 2**32))
def test_average_precision_is_never_further_off_than_is_said(num_samples, scale, ties, seed):
    """Also where all scores are equal, or nearly so: then it is said to be far off, unless they are equal indeed."""
    scores, targets = draw(num_samples, 3, seed, scale)
    scores = scores.round() if ties else scores
    targets[0] = 1
    positives, negatives = counts(MultilabelMetrics(3), scores, targets)
    off = (average_precision(positives, negatives) - sklearn_ap(targets, scores)).abs()
    assert (off <= uncertainty_of(positives, negatives) + 1e-12).all()


def test_average_precision_of_equal_scores_is_scikit_learns():
    scores, targets = torch.zeros(40, 2), draw(40, 2, 1)[1]
    ours = average_precision(*counts(MultilabelMetrics(2), scores, targets))
    assert ours.tolist() == pytest.approx(sklearn_ap(targets, scores).tolist())


def test_a_label_that_no_sample_has():
    """It is left out of map, and of macro F1 unless it is given to a sample, whose F1 is then 0.

    scikit-learn's zero_division=nan does so for F1; of its average precisions those of the other labels are averaged.
    """
    scores, targets = draw(50, 3, 2)
    targets[:, 0] = 0
    whole = MultilabelMetrics(3)
    others = MultilabelMetrics(2)
    rest = others.compute(evaluate(others, scores[:, 1:], targets[:, 1:]))
    never = scores.clone()
    never[:, 0] = -1
    values = whole.compute(evaluate(whole, never, targets))
    assert (values["map"], values["f1_macro"]) == pytest.approx((rest["map"], rest["f1_macro"]))
    given_once = never.clone()
    given_once[0, 0] = 1
    values = whole.compute(evaluate(whole, given_once, targets))
    assert (values["map"], values["f1_macro"]) == pytest.approx((rest["map"], rest["f1_macro"] * 2 / 3))
    assert values["map"] == pytest.approx(sklearn_ap(targets, never)[1:].mean().item(), abs=1e-3)


@pytest.mark.parametrize("place", [0, 49])
def test_a_score_that_is_nan_makes_the_metrics_nan(place):
    """Negative control: counted in a bin, as any number, it would only lower them."""
    scores, targets = draw(50, 3, 3)
    scores[place, 1] = math.nan
    metric = MultilabelMetrics(3)
    sums = evaluate(metric, scores, targets)
    values = metric.compute(sums)
    assert all(math.isnan(value) for value in values.values())
    f1 = metric.score_labels(sums).f1
    assert (math.isnan(f1[1]), math.isnan(f1[0])) == (True, False)
    assert metric.fitted(sums)[1] == 0.5


@pytest.mark.parametrize("fill", [50.0, math.nan, math.inf, -math.inf])
def test_padding_adds_nothing_even_where_it_is_not_finite(fill):
    scores, targets = draw(13, 3, 4)
    for metric in (MultilabelMetrics(3), RunningLabels()):
        alone = metric.compute(evaluate(metric, scores, targets, 13))
        assert metric.compute(evaluate(metric, scores, targets, 8, fill)) == pytest.approx(alone)
        assert not any(math.isnan(value) for value in alone.values())


def test_the_running_f1_is_scikit_learns():
    from sklearn.metrics import f1_score

    scores, targets = draw(77, 4, 5)
    values = RunningLabels().compute(evaluate(RunningLabels(), scores, targets))
    expected = f1_score(targets.int().numpy(), (scores >= 0).int().numpy(), average="micro")
    assert values == {
        "loss": pytest.approx(BinaryCrossEntropy()(scores, targets).mean().item(), rel=1e-6),
        "f1_micro": pytest.approx(expected),
    }


def test_no_samples_give_nan():
    for metric in (MultilabelMetrics(3), RunningLabels()):
        assert all(math.isnan(value) for value in metric.compute(metric.init(CPU)).values())
    assert MultilabelMetrics(3).fitted(MultilabelMetrics(3).init(CPU)).tolist() == [0.5] * 3


@pytest.mark.parametrize("seed", range(3))
def test_fitted_thresholds_have_the_largest_f1(seed):
    """Of all thresholds that scikit-learn tries. Negative control: at 0.5 it is less for a label that is rare."""
    from sklearn.metrics import precision_recall_curve

    scores, targets = draw(400, 4, seed)
    metric = MultilabelMetrics(4)
    sums = evaluate(metric, scores, targets)
    before = metric.score_labels(sums).f1
    metric.thresholds = metric.fitted(sums)
    after = metric.score_labels(sums).f1
    for label in range(4):
        precision, recall, _ = precision_recall_curve(targets[:, label].numpy(), scores[:, label].numpy())
        best = (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()
        assert after[label].item() == pytest.approx(best, abs=2e-3)
        assert after[label] >= before[label]
    assert after[0] > before[0] + 0.01
    exact = (scores.double().sigmoid() >= metric.thresholds).double()
    hits, marks = (exact * targets).sum(0), exact.sum(0) + targets.sum(0)
    assert after.tolist() == pytest.approx((2 * hits / marks).tolist())


def test_of_equally_good_thresholds_the_one_nearest_to_a_half_is_taken():
    scores, targets = torch.tensor([[-3.0], [-2.0], [2.0], [3.0]]), torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    metric = MultilabelMetrics(1)
    assert metric.fitted(evaluate(metric, scores, targets)).tolist() == [0.5]
    assert metric.fitted(evaluate(metric, scores - 2.5, targets))[0] == pytest.approx(1 / (1 + math.exp(0.5)), abs=1e-3)


def test_the_edges_are_symmetric_and_their_middle_is_0():
    for num_labels in (1, 128, 129, 1000, 100_000):
        edges = score_edges(num_labels)
        assert torch.equal(edges, -edges.flip(0))
        assert edges[len(edges) // 2] == 0
        assert (edges.diff() > 0).all()
        assert len(edges) + 1 == max(2**10, min(2**15, 2 ** int(math.log2(2**22 / num_labels))))


def test_sums_add_up_over_ranks_and_are_changed_in_place():
    scores, targets = draw(30, 3, 6)
    metric = MultilabelMetrics(3)
    whole, first, second = (
        evaluate(metric, *part)
        for part in ((scores, targets), (scores[:11], targets[:11]), (scores[11:], targets[11:]))
    )
    assert metric.compute({name: first[name] + second[name] for name in first}) == pytest.approx(metric.compute(whole))
    before = {name: total.data_ptr() for name, total in whole.items()}
    batch = Batch(torch.empty(0), targets, torch.ones(30), 30, None, True)
    metric.update(whole, scores.requires_grad_(), torch.zeros(30), batch)
    assert {name: total.data_ptr() for name, total in whole.items()} == before
    assert not any(total.requires_grad for total in whole.values())


@pytest.mark.parametrize("make", [lambda: MultilabelMetrics(10), RunningLabels])
def test_update_never_waits_for_the_device(make):
    """The meta device has no values to read."""
    metric, meta = make(), torch.device("meta")
    outputs = torch.empty(8, 10, device=meta)
    batch = Batch(outputs, torch.empty(8, 10, device=meta), torch.empty(8, device=meta), 8)
    metric.update(metric.init(meta), outputs, torch.empty(8, device=meta), batch)
