"""Metrics of values, against scikit-learn as oracle, in fp64."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor

from nnrun.components.metrics.regression import RegressionMetrics, RunningErrors
from nnrun.components.metrics.standardisation import PutBack, Standardisation
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.problem import Sums

CPU = torch.device("cpu")


def fitted(targets: Tensor) -> Standardisation:
    made = Standardisation(targets.shape[1])
    values = targets.double()
    made.set(values.mean(0), values.std(0, unbiased=False))
    return made


def evaluate(
    metric: RegressionMetrics | RunningErrors, outputs: Tensor, targets: Tensor, batch_size: int = 8, fill: float = 1e30
) -> Sums:
    """Add up batch by batch, the last one padded, as the loop does."""
    sums = metric.init(CPU)
    for some, true in zip(outputs.split(batch_size), targets.split(batch_size), strict=True):
        missing = batch_size - len(true)
        weight = torch.cat([torch.ones(len(true)), torch.zeros(missing)])
        given = torch.cat([some, torch.full((missing, true.shape[1]), fill)])
        batch = Batch(torch.empty(0), torch.cat([true, true[:1].expand(missing, -1)]), weight, len(true))
        metric.update(sums, given, given.square().mean(1), batch)
    return sums


def draw(mean: float, deviation: float, num_samples: int = 101, num_values: int = 3) -> Tensor:
    torch.manual_seed(0)
    return (mean + deviation * torch.randn(num_samples, num_values, dtype=torch.float64)).float()


def expected(targets: Tensor, predicted: Tensor) -> dict[str, float]:
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    true, ours = targets.double().numpy(), predicted.numpy()
    return {
        "mse": mean_squared_error(true, ours),
        "mae": mean_absolute_error(true, ours),
        "r2": r2_score(true, ours),
    }


@pytest.mark.parametrize(
    ("mean", "deviation"), [(0, 1), (50, 10), (1e9, 1e3), (-1e9, 300), (0, 1e-9), (1e-9, 1e-12), (0, 1e18), (1e6, 0.25)]
)
def test_the_metrics_are_scikit_learns_in_fp64(mean, deviation):
    """Negative control: of squares in the data's own units, in fp32, R2 of values of 1e9 is nothing like it."""
    targets = draw(mean, deviation)
    standard = fitted(targets)
    outputs = standard(targets) + 0.3 * torch.randn_like(targets)
    predicted = outputs.double() * standard.deviation + standard.mean
    metric = RegressionMetrics(standard)
    values = metric.compute(evaluate(metric, outputs, targets))
    wanted = expected(targets, predicted)
    # What an output of fp32 is exact to, about 1, in deviations.
    assert values["mse"] == pytest.approx(wanted["mse"], rel=1e-5)
    assert values["mae"] == pytest.approx(wanted["mae"], rel=1e-5)
    assert values["r2"] == pytest.approx(wanted["r2"], abs=1e-5)
    assert values["loss"] == pytest.approx(outputs.square().mean().item(), rel=1e-5)
    running = RunningErrors(standard)
    assert running.compute(evaluate(running, outputs, targets)) == {
        "loss": pytest.approx(values["loss"]),
        "mae": pytest.approx(values["mae"], rel=1e-5),
    }


def test_samples_far_from_the_training_part_lose_no_digits():
    """A test part of other values: a thousand deviations away, R2 still tells them apart."""
    standard = Standardisation(1)
    standard.set(torch.tensor([5.0], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64))
    targets = draw(2005, 2, num_values=1)
    outputs = standard(targets) + 0.1 * torch.randn_like(targets)
    metric = RegressionMetrics(standard)
    values = metric.compute(evaluate(metric, outputs, targets))
    wanted = expected(targets, outputs.double() * 2 + 5)
    assert (values["r2"], values["mse"]) == pytest.approx((wanted["r2"], wanted["mse"]), rel=1e-4)


@pytest.mark.parametrize("value", [0.0, 7.25, 1e9])
def test_r2_of_constant_targets_is_scikit_learns(value):
    """1 where every prediction is right, 0 where one is not, and NaN of a single sample, or of a NaN."""
    standard = Standardisation(1)
    targets = torch.full((50, 1), value)
    standard.set(targets[0].double(), torch.ones(1, dtype=torch.float64))
    metric = RegressionMetrics(standard)
    right, wrong = torch.zeros(50, 1), torch.full((50, 1), 0.5)
    assert metric.compute(evaluate(metric, right, targets))["r2"] == 1
    assert metric.compute(evaluate(metric, wrong, targets))["r2"] == 0
    assert math.isnan(metric.compute(evaluate(metric, right[:1], targets[:1]))["r2"])
    wrong[3] = math.nan
    values = metric.compute(evaluate(metric, wrong, targets))
    assert all(math.isnan(values[name]) for name in ("r2", "mse", "mae"))


def test_one_of_several_targets_is_constant():
    from sklearn.metrics import r2_score

    targets = draw(3, 1)
    targets[:, 1] = 3
    standard = fitted(draw(3, 1))
    outputs = standard(targets) + 0.1
    metric = RegressionMetrics(standard)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = r2_score(targets.double().numpy(), (outputs.double() * standard.deviation + standard.mean).numpy())
    assert metric.compute(evaluate(metric, outputs, targets))["r2"] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("fill", [1e30, math.nan, math.inf])
def test_padding_adds_nothing_even_where_it_is_not_finite(fill):
    targets = draw(3, 1, num_samples=13)
    standard = fitted(targets)
    outputs = standard(targets) * 0.5
    for metric in (RegressionMetrics(standard), RunningErrors(standard)):
        alone = metric.compute(evaluate(metric, outputs, targets, 13))
        assert metric.compute(evaluate(metric, outputs, targets, 8, fill)) == pytest.approx(alone)


def test_no_samples_give_nan():
    for metric in (RegressionMetrics(Standardisation(2)), RunningErrors(Standardisation(2))):
        assert all(math.isnan(value) for value in metric.compute(metric.init(CPU)).values())


def test_sums_add_up_over_ranks():
    targets = draw(1e6, 5)
    standard = fitted(targets)
    outputs, metric = standard(targets) + 0.2, RegressionMetrics(fitted(targets))
    first, second = evaluate(metric, outputs[:40], targets[:40]), evaluate(metric, outputs[40:], targets[40:])
    whole = metric.compute(evaluate(metric, outputs, targets))
    assert metric.compute({name: first[name] + second[name] for name in first}) == pytest.approx(whole)


@pytest.mark.parametrize("make", [RegressionMetrics, RunningErrors])
def test_update_never_waits_for_the_device(make):
    """The meta device has no values to read."""
    standard, meta = Standardisation(3), torch.device("meta")
    outputs = torch.empty(8, 3, device=meta)
    metric = make(standard)
    batch = Batch(outputs, outputs, torch.empty(8, device=meta), 8)
    metric.update(metric.init(meta), outputs, torch.empty(8, device=meta), batch)


@pytest.mark.parametrize(("mean", "deviation"), [(1e9, 1e3), (1e6, 0.25), (1e-9, 1e-12), (-7, 2)])
def test_what_is_learned_has_all_digits_that_the_targets_have(mean, deviation):
    """Negative control: with the mean as one fp32 number, values of 1e6 are off by more."""
    targets = draw(mean, deviation)
    standard = fitted(targets)
    exact = (targets.double() - standard.mean) / standard.deviation
    torch.testing.assert_close(standard(targets).double(), exact, rtol=1e-6, atol=2e-6)
    if mean == 1e6:
        rough = (targets - standard.mean.float()) / standard.deviation.float()
        assert (rough.double() - exact).abs().max() > 1e-3


def test_putting_back_is_exact_to_a_step_of_fp32():
    targets = draw(1e9, 1e3)
    standard = fitted(targets)
    back = standard.put_back(standard(targets))
    assert ((back - targets).abs() <= 64).all()
    layer = torch.jit.script(PutBack(*standard.parts()))
    assert torch.equal(layer(standard(targets)), back)
