"""Regression: standardized targets, values put back, and what two networks have in common."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from nnrun.base.errors import ConfigError, DataError
from nnrun.base.targets import Targets
from nnrun.components.problems.regression import Regression
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.problem import Sums

NAMES = ("price", "size")


def fitted(targets: Tensor) -> Regression:
    problem = Regression(Targets.values(NAMES[: targets.shape[1]]))
    problem.fit_targets(targets)
    return problem


def draw(mean: float = 50, deviation: float = 10, num_samples: int = 300, num_values: int = 2) -> Tensor:
    torch.manual_seed(0)
    return (mean + deviation * torch.randn(num_samples, num_values, dtype=torch.float64)).float()


def measure(problem: Regression, outputs: Tensor, targets: Tensor) -> Sums:
    sums = problem.eval_metric.init(torch.device("cpu"))
    batch = Batch(torch.empty(0), targets, torch.ones(len(targets)), len(targets), None, True)
    problem.eval_metric.update(sums, outputs, torch.zeros(len(targets)), batch)
    return sums


@pytest.mark.parametrize(("mean", "deviation"), [(50, 10), (1e9, 1e3), (1e-9, 1e-12), (0, 1e20), (-3e6, 0.5)])
def test_what_is_learned_has_mean_0_and_deviation_1(mean, deviation):
    """Negative control: in fp32 the deviation of values of 1e9 is another."""
    from sklearn.preprocessing import StandardScaler

    targets = draw(mean, deviation)
    problem = fitted(targets)
    scaler = StandardScaler().fit(targets.double().numpy())
    state = problem.state_dict()
    assert state["mean"] == pytest.approx(scaler.mean_.tolist(), rel=1e-12)
    assert state["deviation"] == pytest.approx(scaler.scale_.tolist(), rel=1e-6)
    learned = problem.learned(targets).double()
    assert learned.mean(0).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert learned.std(0, unbiased=False).tolist() == pytest.approx([1, 1], rel=1e-5)
    expected = torch.from_numpy(scaler.transform(targets.double().numpy()))
    torch.testing.assert_close(learned, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("mean", "deviation"), [(50, 10), (1e9, 1e3), (1e-9, 1e-12), (0, 1e20)])
def test_scores_are_in_the_data_s_units_in_the_program_and_in_what_is_exported(mean, deviation):
    targets = draw(mean, deviation)
    problem = fitted(targets)
    outputs = problem.learned(targets)
    back = problem.scores(outputs)
    step = torch.finfo(torch.float32).eps * targets.abs() + 1e-6 * deviation
    assert ((back - targets).abs() <= 2 * step).all()
    for output in ("scores", "probabilities"):
        layer = problem.final_layer(output)
        assert torch.equal(layer(outputs), back)
        assert torch.equal(torch.jit.trace(layer, outputs)(outputs[:3]), back[:3])
    assert torch.equal(problem.predictions(back), back)


def test_a_target_that_never_changes_has_deviation_1():
    targets = draw()
    targets[:, 1] = 3.5
    problem = fitted(targets)
    assert (problem.state_dict()["mean"][1], problem.state_dict()["deviation"][1]) == (3.5, 1.0)
    assert problem.learned(targets)[:, 1].tolist() == [0.0] * len(targets)
    values = problem.eval_metric.compute(measure(problem, problem.learned(targets), targets))
    assert values["r2"] == 1


@pytest.mark.parametrize("scale", [1e-40, 3e38])
def test_values_that_fp32_does_not_hold_well_are_refused(scale):
    targets = torch.tensor([[-1.0], [1.0]], dtype=torch.float64).mul(scale).float()
    with pytest.raises(
        DataError, match=r"range of price in the training split is .*; allowed: from 1e-30 to 1e\+30; use another unit"
    ):
        fitted(targets)


def test_what_was_fitted_is_saved_as_plain_values_to_the_same_bits():
    targets = draw(1e9, 1e3)
    problem, other = fitted(targets), Regression(Targets.values(NAMES))
    other.load_state_dict(json.loads(json.dumps(problem.state_dict())))
    assert torch.equal(other.learned(targets), problem.learned(targets))
    outputs = torch.randn(300, 2)
    assert torch.equal(other.scores(outputs), problem.scores(outputs))


@pytest.mark.parametrize(
    "state",
    [
        {"mean": [0.0], "deviation": [1.0]},
        {"mean": [0.0, math.inf], "deviation": [1.0, 1.0]},
        {"mean": [0.0, 0.0], "deviation": [1.0, 0.0]},
        {"mean": ["a", 0.0], "deviation": [1.0, 1.0]},
    ],
)
def test_a_state_of_a_file_that_is_none_is_refused(state):
    with pytest.raises(ValueError, match=r"for each of the 2 values|above 0"):
        Regression(Targets.values(NAMES)).load_state_dict(state)


def test_the_metrics_and_the_report_are_scikit_learns_of_the_values_put_back():
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    targets = draw(1000, 30)
    problem = fitted(draw(900, 40))
    outputs = problem.learned(targets) + 0.2 * torch.randn(300, 2)
    predicted, true = problem.scores(outputs).double().numpy(), targets.double().numpy()
    sums = measure(problem, outputs, targets)
    values = problem.eval_metric.compute(sums)
    assert values["mse"] == pytest.approx(mean_squared_error(true, predicted), rel=1e-4)
    assert values["mae"] == pytest.approx(mean_absolute_error(true, predicted), rel=1e-4)
    assert values["r2"] == pytest.approx(r2_score(true, predicted), abs=1e-5)
    assert problem.score(problem.scores(outputs), targets) == pytest.approx(values["r2"], abs=1e-5)
    rows = problem.report(sums)["per_target"]
    assert [row["target"] for row in rows] == list(NAMES)
    assert [row["r2"] for row in rows] == pytest.approx(r2_score(true, predicted, multioutput="raw_values"), abs=1e-5)
    assert [row["mse"] for row in rows] == pytest.approx(((true - predicted) ** 2).mean(0).tolist(), rel=1e-4)
    json.dumps(problem.report(measure(problem, outputs[:1], targets[:1])), allow_nan=False)


def test_agreement_is_within_a_thousandth_of_the_deviation():
    problem = fitted(draw(50, 10))
    ours = torch.tensor([[50.0, 50.0]] * 4)
    theirs = ours + torch.tensor([[0.005, 0.0], [0.005, -0.009], [0.005, 0.02], [0.0, math.nan]])
    assert problem.agreement(ours, theirs).tolist() == [True, True, False, False]


def test_a_step_of_fp32_beside_a_large_mean_is_no_difference():
    """Values of 1e9 are 64 apart, and the deviation here is 1e3: a thousandth of it is less than a step."""
    problem = fitted(draw(1e9, 1e3))
    ours = torch.full((1, 2), 1e9)
    assert problem.agreement(ours, ours + 64).tolist() == [True]
    assert problem.agreement(ours, ours + 512).tolist() == [False]


def test_the_baseline_is_the_mean_of_the_training_part():
    from sklearn.metrics import r2_score

    train, targets = draw(50, 10), draw(53, 10, 100)
    problem = fitted(train)
    assert problem.baseline(train, train) == pytest.approx(0, abs=1e-9)
    guess = train.double().mean(0).expand(100, 2).numpy()
    assert problem.baseline(train, targets) == pytest.approx(r2_score(targets.double().numpy(), guess), abs=1e-5)


@pytest.mark.parametrize(
    ("names", "columns"), [(("value",), ["prediction"]), (NAMES, ["prediction_price", "prediction_size"])]
)
def test_the_rows_of_predictions(names, columns):
    problem = Regression(Targets.values(names))
    predictions = torch.arange(2.0 * len(names)).view(2, -1)
    assert problem.columns() == columns
    assert problem.rows(predictions) == predictions.tolist()
    assert problem.answers(predictions)[0] == " ".join(str(number) for number in range(len(names)))


def test_two_networks_on_one_sample():
    found = fitted(draw()).compare(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0]))
    assert (found["target"], found["eager"], found["artifact"]) == ("0 2", "1 2", "1 3")
    assert found["predictions_artifact"] == {"price": 1.0, "size": 3.0}


@pytest.mark.parametrize("outputs", [torch.zeros(4, 3), torch.zeros(4), (torch.zeros(4, 2),)])
def test_a_network_with_other_outputs_is_refused(outputs):
    with pytest.raises(
        ConfigError, match=r"model returns .* for a batch of 4 samples.*2 values, \(4, 2\).*num_outputs"
    ):
        Regression(Targets.values(NAMES)).check_outputs(outputs, 4)


def test_one_value_a_sample_is_a_column():
    """Negative control: broadcast, (N,) beside (N, 1) would be a loss of each sample with each other."""
    problem = Regression(Targets.values())
    problem.check_outputs(torch.zeros(4, 1), 4)
    with pytest.raises(
        ConfigError, match=r"model returns \(4,\).*1 value, \(4, 1\).*remove a squeeze\(\) after its last layer"
    ):
        problem.check_outputs(torch.zeros(4), 4)


def test_a_value_is_right_within_a_tenth_of_its_deviation():
    """Negative control: that is no agreement of two networks, which is a hundred times closer."""
    targets = draw()
    problem = fitted(targets)
    deviation = torch.tensor(problem.state_dict()["deviation"])
    for part, is_right in ((0.09, True), (-0.09, True), (0.11, False)):
        predictions = targets.clone()
        predictions[:, 1] += part * deviation[1]
        assert problem.are_right(predictions, targets).tolist() == [is_right] * len(targets)
        assert not problem.agreement(predictions, targets).any()
