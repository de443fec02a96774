"""Several labels at once: thresholds, what is said of predictions, and what two networks have in common."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from nnrun.base.errors import ConfigError
from nnrun.base.targets import Targets
from nnrun.components.problems.multilabel import Multilabel
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.problem import Sums

NAMES = ("cat", "dog", "owl")


def make() -> Multilabel:
    return Multilabel(Targets.labels(NAMES))


def measure(problem: Multilabel, outputs: Tensor, targets: Tensor) -> Sums:
    sums = problem.eval_metric.init(torch.device("cpu"))
    batch = Batch(torch.empty(0), targets, torch.ones(len(targets)), len(targets), None, True)
    problem.eval_metric.update(sums, outputs, torch.zeros(len(targets)), batch)
    return sums


def draw(num_samples: int = 200) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    targets = (torch.rand(num_samples, 3) < torch.tensor([0.1, 0.3, 0.5])).float()
    return 2 * targets + torch.randn(num_samples, 3) - 2.5, targets


def test_thresholds_fitted_on_one_part_are_applied_to_another():
    """Negative control: before that, and so without a validation part, they are 0.5, and F1 is lower."""
    problem, (outputs, targets) = make(), draw()
    test = draw(300)
    before = problem.eval_metric.compute(measure(problem, *test))
    assert problem.thresholds.tolist() == [0.5] * 3
    problem.fit_validation(measure(problem, outputs, targets))
    after = problem.eval_metric.compute(measure(problem, *test))
    assert all(0.05 < value < 0.5 for value in problem.thresholds.tolist())
    assert after["f1_macro"] > before["f1_macro"] + 0.05
    assert after["map"] == before["map"]
    predictions = problem.predictions(problem.scores(test[0]))
    assert problem.score(predictions, test[1]) == pytest.approx(after["f1_macro"], abs=1e-6)


def test_what_was_fitted_is_saved_as_plain_values_to_the_same_bits():
    problem, other = make(), make()
    problem.fit_validation(measure(problem, *draw()))
    other.load_state_dict(json.loads(json.dumps(problem.state_dict())))
    assert torch.equal(other.thresholds, problem.thresholds)
    sums = measure(problem, *draw(77))
    assert other.eval_metric.compute(sums) == problem.eval_metric.compute(sums)


@pytest.mark.parametrize("thresholds", [[0.5, 0.5], [0.5, 0.5, 1.5], [0.5, 0.5, math.nan], [0.5, 0.5, "x"], 0.5])
def test_thresholds_of_a_file_that_are_none_are_refused(thresholds):
    with pytest.raises(ValueError, match="for each of the 3 labels"):
        make().load_state_dict({"thresholds": thresholds})


def test_the_report_equals_scikit_learn():
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support

    problem, (outputs, targets) = make(), draw()
    sums = measure(problem, outputs, targets)
    problem.fit_validation(sums)
    report = problem.report(sums)
    given = (outputs.sigmoid() >= problem.thresholds).int().numpy()
    columns = precision_recall_fscore_support(targets.int().numpy(), given, zero_division=0)
    rows = report["per_label"]
    assert [row["label"] for row in rows] == list(NAMES)
    for key, column in zip(("precision", "recall", "f1", "samples"), columns, strict=True):
        assert [row[key] for row in rows] == pytest.approx(column.tolist())
    ap = average_precision_score(targets.numpy(), outputs.numpy(), average=None)
    assert [row["ap"] for row in rows] == pytest.approx(ap.tolist(), abs=1e-3)
    assert [row["threshold"] for row in rows] == problem.thresholds.tolist()
    assert 0 <= report["map_uncertainty"] < 1e-2
    json.dumps(report, allow_nan=False)
    shown = problem.show(report)[0]
    f1 = [row[4] for row in shown.rows]
    assert f1 == sorted(f1)


def test_a_label_that_no_sample_has_has_no_average_precision_in_the_report():
    outputs, targets = draw()
    targets[:, 1] = 0
    problem = make()
    row = problem.report(measure(problem, outputs, targets))["per_label"][1]
    assert (row["ap"], row["samples"], row["threshold"]) == (None, 0, 0.5)


def test_the_score_is_scikit_learns_macro_f1_and_nan_of_nan():
    from sklearn.metrics import f1_score

    outputs, targets = draw()
    predictions = outputs.sigmoid()
    expected = f1_score(targets.int().numpy(), (predictions >= 0.5).int().numpy(), average="macro")
    assert make().score(predictions, targets) == pytest.approx(expected)
    predictions[5, 1] = math.nan
    assert math.isnan(make().score(predictions, targets))


def test_agreement_is_that_of_the_labels_given():
    """On both sides of a threshold, and no further apart than rounding, they agree. NaN agrees with nothing."""
    ours = torch.tensor([[0.9, 0.1, 0.5], [0.9, 0.1, 0.5], [0.9, 0.1, 0.6], [0.9, 0.1, 0.6]])
    theirs = torch.tensor([[0.6, 0.4, 0.8], [0.9, 0.1, 0.499995], [0.9, 0.1, 0.4], [0.9, 0.1, math.nan]])
    problem = make()
    assert problem.agreement(ours, theirs).tolist() == [True, True, False, False]
    problem.load_state_dict({"thresholds": [0.7, 0.5, 0.5]})
    assert problem.agreement(ours, theirs).tolist() == [False, True, False, False]


def test_two_networks_on_one_sample():
    found = make().compare(torch.tensor([0.9, 0.1, 0.5]), torch.tensor([0.9, 0.8, 0.4]), torch.tensor([1.0, 0.0, 1.0]))
    assert (found["target"], found["eager"], found["artifact"]) == (["cat", "owl"], ["cat", "owl"], ["cat", "dog"])
    assert found["predictions_artifact"]["dog"] == pytest.approx(0.8)


def test_the_baseline_gives_every_label_that_was_seen():
    """F1 of a label that every sample is given: 2 p / (1 + p) where p is its share."""
    train = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    shares = [2 * 0.75 / 1.75, 2 * 0.25 / 1.25, 0.0]
    assert make().baseline(train, targets) == pytest.approx(sum(shares) / 3)


def test_the_rows_of_predictions():
    problem, predictions = make(), torch.tensor([[0.75, 0.25, 0.5], [0.125, 0.25, 0.0]])
    assert problem.columns() == ["cat", "dog", "owl", "probability_cat", "probability_dog", "probability_owl"]
    assert problem.rows(predictions) == [[1, 0, 1, 0.75, 0.25, 0.5], [0, 0, 0, 0.125, 0.25, 0.0]]
    problem.load_state_dict({"thresholds": [0.1, 0.3, 0.6]})
    assert problem.answers(predictions) == ["cat", "cat"]


@pytest.mark.parametrize("outputs", [torch.zeros(4, 2), torch.zeros(4), torch.zeros(4, 3, 1), (torch.zeros(4, 3),)])
def test_a_network_with_other_outputs_is_refused(outputs):
    with pytest.raises(
        ConfigError, match=r"model returns .* for a batch of 4 samples.*3 labels, \(4, 3\).*num_outputs"
    ):
        make().check_outputs(outputs, 4)


def test_the_final_layer_gives_scores_or_probabilities():
    outputs = torch.randn(5, 3)
    assert torch.equal(make().final_layer("scores")(outputs), outputs)
    assert torch.equal(make().final_layer("probabilities")(outputs), make().predictions(outputs))


def test_a_sample_is_right_with_its_labels_and_no_other():
    predictions = torch.tensor([[0.9, 0.1, 0.6], [0.9, 0.6, 0.6], [0.4, 0.1, 0.6]])
    targets = torch.tensor([[1.0, 0.0, 1.0]]).expand(3, 3)
    assert make().are_right(predictions, targets).tolist() == [True, False, False]
