"""Metrics of classification, against torchmetrics and scikit-learn as oracles."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nnrun.base.errors import ConfigError
from nnrun.base.targets import Targets
from nnrun.components.losses.cross_entropy import CrossEntropy
from nnrun.components.problems.classification import Classification
from nnrun.core.objective import Objective
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.problem import Sums

CPU = torch.device("cpu")


def classes(num_classes: int) -> Targets:
    return Targets.classes([f"class {index}" for index in range(num_classes)])


def make_problem(num_classes: int) -> Classification:
    return Classification(classes(num_classes))


def padded(logits: Tensor, targets: Tensor, num_padding: int, fill: float = 100.0) -> tuple[Tensor, Batch]:
    """Return scores and batch with padding of weight 0 behind, of scores that would win every comparison."""
    num_samples = len(targets)
    extra = torch.zeros(num_padding, logits.shape[1])
    extra[:, 0] = fill
    weight = torch.cat([torch.ones(num_samples), torch.zeros(num_padding)])
    all_targets = torch.cat([targets, torch.zeros(num_padding, dtype=torch.int64)])
    return torch.cat([logits, extra]), Batch(torch.empty(0), all_targets, weight, num_samples)


def evaluate(
    problem: Classification, logits: Tensor, targets: Tensor, batch_size: int = 8, fill: float = 100.0
) -> tuple[dict[str, float], Sums]:
    """Evaluate batch by batch, the last one padded, as the loop does."""
    sums = problem.eval_metric.init(CPU)
    for scores, true in zip(logits.split(batch_size), targets.split(batch_size), strict=True):
        outputs, batch = padded(scores, true, batch_size - len(true), fill)
        problem.eval_metric.update(sums, outputs, CrossEntropy()(outputs, batch.targets), batch)
    return problem.eval_metric.compute(sums), sums


@settings(max_examples=40, deadline=None)
@given(
    num_classes=st.integers(2, 9),
    num_samples=st.integers(1, 40),
    batch_size=st.integers(1, 16),
    # few of the classes occur, so that the corners of the macro average are met
    used=st.integers(1, 9),
    seed=st.integers(0, 2**32),
)
def test_metrics_equal_torchmetrics(num_classes, num_samples, batch_size, used, seed):
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_confusion_matrix,
        multiclass_f1_score,
        multiclass_precision,
        multiclass_recall,
    )

    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_samples, num_classes, generator=generator)
    logits[:, used:] -= 10
    targets = torch.randint(min(used, num_classes), (num_samples,), generator=generator)
    metrics, sums = evaluate(make_problem(num_classes), logits, targets, batch_size)
    expected = {
        "loss": nn.functional.cross_entropy(logits, targets),
        "accuracy": multiclass_accuracy(logits, targets, num_classes, average="micro"),
        "precision": multiclass_precision(logits, targets, num_classes),
        "recall": multiclass_recall(logits, targets, num_classes),
        "f1": multiclass_f1_score(logits, targets, num_classes),
    }
    if num_classes > 5:
        expected["top5_accuracy"] = multiclass_accuracy(logits, targets, num_classes, average="micro", top_k=5)
    assert metrics == {name: pytest.approx(value.item(), rel=1e-5, abs=1e-6) for name, value in expected.items()}
    assert torch.equal(sums["confusion"], multiclass_confusion_matrix(logits, targets, num_classes))


@pytest.mark.parametrize("seed", range(5))
def test_report_equals_scikit_learn(seed):
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    generator = torch.Generator().manual_seed(seed)
    num_classes = 7
    logits = torch.randn(50, num_classes, generator=generator)
    logits[:, 2] = -10  # never predicted
    targets = torch.randint(num_classes - 1, (50,), generator=generator)  # the last class has no samples
    problem = make_problem(num_classes)
    metrics, sums = evaluate(problem, logits, targets)
    true, predicted = targets.numpy(), logits.argmax(1).numpy()
    report = problem.report(sums)
    assert report["confusion_matrix"] == confusion_matrix(true, predicted, labels=range(num_classes)).tolist()
    columns = precision_recall_fscore_support(true, predicted, labels=range(num_classes), zero_division=0)
    assert [row["class"] for row in report["per_class"]] == list(classes(num_classes).names)
    for key, column in zip(("precision", "recall", "f1", "samples"), columns, strict=True):
        assert [row[key] for row in report["per_class"]] == pytest.approx(column.tolist())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        macro = precision_recall_fscore_support(true, predicted, average="macro", zero_division=0)
    assert [metrics[key] for key in ("precision", "recall", "f1")] == pytest.approx(list(macro[:3]))


def test_rows_are_true_classes_and_columns_predictions():
    """Negative control: transposed, the one sample would stand in the other corner."""
    problem = make_problem(2)
    _, sums = evaluate(problem, torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
    report = problem.report(sums)
    assert report["confusion_matrix"] == [[0, 1], [0, 0]]
    assert [row["samples"] for row in report["per_class"]] == [1, 0]


def test_a_class_that_is_absent_from_both_is_left_out_of_the_average():
    """Negative control: counted as 0 it would make the perfect prediction of 2 classes out of 4 one half."""
    targets = torch.tensor([0, 1, 1])
    metrics, _ = evaluate(make_problem(4), 5 * torch.eye(4)[targets], targets)
    assert (metrics["precision"], metrics["recall"], metrics["f1"]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("num_classes", "present"), [(5, False), (6, True)])
def test_top5_is_for_more_than_five_classes(num_classes, present):
    metrics, _ = evaluate(make_problem(num_classes), torch.randn(4, num_classes), torch.zeros(4, dtype=torch.int64))
    assert ("top5_accuracy" in metrics) == present


@pytest.mark.parametrize("metric", ["train_metric", "eval_metric"])
@pytest.mark.parametrize("fill", [100.0, float("nan"), float("inf")])
def test_padding_adds_nothing_even_where_it_is_not_finite(metric, fill):
    """Negative control: the padding's scores win class 0, so any weight on it changes accuracy and loss."""
    torch.manual_seed(0)
    problem = make_problem(6)
    judge = getattr(problem, metric)
    logits, targets = torch.randn(5, 6), torch.randint(6, (5,))
    results = []
    for num_padding in (0, 3):
        sums = judge.init(CPU)
        outputs, batch = padded(logits, targets, num_padding, fill)
        judge.update(sums, outputs, CrossEntropy()(outputs, batch.targets), batch)
        results.append(judge.compute(sums))
    assert results[0] == pytest.approx(results[1], abs=1e-9)


def test_train_metric_weighs_by_samples():
    """Negative control: the mean of the two batches' means would be 0.5."""
    problem = make_problem(2)
    sums = problem.train_metric.init(CPU)
    right, wrong = torch.tensor([[5.0, 0.0]] * 3), torch.tensor([[0.0, 5.0]])
    for scores, padding in ((right, 0), (wrong, 2)):
        outputs, batch = padded(scores, torch.zeros(len(scores), dtype=torch.int64), padding)
        problem.train_metric.update(sums, outputs, CrossEntropy()(outputs, batch.targets), batch)
    losses = nn.functional.cross_entropy(torch.cat([right, wrong]), torch.zeros(4, dtype=torch.int64))
    assert problem.train_metric.compute(sums) == {"loss": pytest.approx(losses.item()), "accuracy": 0.75}


@pytest.mark.parametrize("metric", ["train_metric", "eval_metric"])
def test_update_never_waits_for_the_device(metric):
    """Negative control: on the meta device, which has no values, reading one raises, as bincount does below."""
    problem = make_problem(10)
    judge = getattr(problem, metric)
    meta = torch.device("meta")
    sums = judge.init(meta)
    outputs = torch.empty(8, 10, device=meta)
    targets = torch.empty(8, dtype=torch.int64, device=meta)
    losses = CrossEntropy()(outputs, targets)
    judge.update(sums, outputs, losses, Batch(outputs, targets, torch.empty(8, device=meta), 8))
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.bincount(targets)


@pytest.mark.parametrize("metric", ["train_metric", "eval_metric"])
def test_update_works_in_place_and_keeps_no_graph(metric):
    problem = make_problem(6)
    judge = getattr(problem, metric)
    sums = judge.init(CPU)
    before = {name: (id(total), total.data_ptr()) for name, total in sums.items()}
    outputs, batch = padded(torch.randn(4, 6, requires_grad=True), torch.randint(6, (4,)), 2)
    judge.update(sums, outputs, CrossEntropy()(outputs, batch.targets), batch)
    assert {name: (id(total), total.data_ptr()) for name, total in sums.items()} == before
    assert not any(total.requires_grad for total in sums.values())
    assert sums["weight"] == 4


def test_sums_add_up_over_ranks():
    problem, targets, logits = make_problem(6), torch.randint(6, (30,)), torch.randn(30, 6)
    whole, _ = evaluate(problem, logits, targets)
    _, first = evaluate(problem, logits[:11], targets[:11])
    _, second = evaluate(problem, logits[11:], targets[11:])
    assert problem.eval_metric.compute({name: first[name] + second[name] for name in first}) == pytest.approx(whole)


def test_nan_scores_are_counted_and_not_a_crash():
    metrics, sums = evaluate(make_problem(6), torch.full((9, 6), float("nan")), torch.randint(6, (9,)))
    assert math.isnan(metrics["loss"])
    assert sums["confusion"].sum() == 9


def test_no_samples_give_nan():
    problem = make_problem(6)
    for judge in (problem.train_metric, problem.eval_metric):
        metrics = judge.compute(judge.init(CPU))
        assert all(math.isnan(value) for value in metrics.values())


def test_a_reduced_loss_is_refused():
    """Negative control: with reduction none the same loss is taken."""
    outputs, batch = torch.randn(4, 3), Batch(torch.empty(0), torch.tensor([0, 1, 2, 0]), torch.ones(4), 4)
    with pytest.raises(ConfigError, match=r"loss returns \(\) for a batch of 4 samples.*reduction: none"):
        Objective(Classification(classes(3)), nn.CrossEntropyLoss()).losses(outputs, batch)
    plain = Objective(Classification(classes(3)), nn.CrossEntropyLoss(reduction="none"))
    assert plain.losses(outputs, batch).shape == (4,)


@pytest.mark.parametrize(
    "outputs", [torch.zeros(4, 1000), torch.zeros(4, 2), torch.zeros(4, 3, 1), (torch.zeros(4, 3),)]
)
def test_a_network_with_other_outputs_is_refused(outputs):
    """Negative control: 1000 scores for 3 classes train without an error, and index out of the confusion matrix."""
    with pytest.raises(ConfigError, match=r"model returns .* for a batch of 4 samples.*3 classes.*num_classes"):
        make_problem(3).check_outputs(outputs, 4)


def test_what_is_shown_is_the_weakest_classes_first_and_the_confusion_of_all():
    problem = make_problem(4)
    _, sums = evaluate(problem, torch.eye(4)[[0, 0, 1, 0, 2]] * 9, torch.tensor([0, 0, 1, 1, 2]))
    table, confused, counts, shares = problem.show(problem.report(sums))
    assert [row[0] for row in table.rows] == ["class 1", "class 0", "class 2"]
    assert (table.label, table.summary) == ("weakest", "class 1 (F1 0.667)  class 0 (F1 0.800)")
    assert (confused.label, confused.summary) == ("confused", "class 1 -> class 0 (1 of 2)")
    assert confused.rows == [("class 1", "class 0", 1, 2)]
    assert (counts.kind, counts.x, shares.x) == ("heatmap", list(problem.targets.names), counts.x)
    matrix = {"class 0": [2, 0, 0, 0], "class 1": [1, 1, 0, 0], "class 2": [0, 0, 1, 0], "class 3": [0, 0, 0, 0]}
    assert counts.series == matrix
    assert shares.series == matrix | {"class 0": [1, 0, 0, 0], "class 1": [0.5, 0.5, 0, 0], "class 3": [None] * 4}


def test_of_many_classes_the_matrix_has_those_that_are_confused_most_often():
    problem = make_problem(60)
    predicted = torch.arange(60)
    predicted[[50, 7]] = torch.tensor([51, 51])
    _, sums = evaluate(problem, torch.eye(60)[predicted] * 9, torch.arange(60))
    chart = problem.show(problem.report(sums))[2]
    assert len(chart.x) == len(chart.series) == 25
    assert {"class 7", "class 50", "class 51"} < set(chart.x)
    assert chart.series["class 7"][chart.x.index("class 51")] == 1
    assert "the 25 that are confused most often" in chart.note


def test_agreement_is_that_of_the_predicted_class():
    ours, theirs = torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([[0.0, 9.0], [1.0, 2.0]])
    assert make_problem(2).agreement(ours, theirs).tolist() == [True, False]
