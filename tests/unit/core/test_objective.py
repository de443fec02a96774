"""The objective of a training: losses of mixed samples, the inputs of a loss, and added metrics."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from nnrun.base.errors import ConfigError
from nnrun.base.targets import Targets
from nnrun.components.losses.bce import BinaryCrossEntropy
from nnrun.components.losses.mse import SquaredError
from nnrun.components.problems.classification import Classification
from nnrun.components.problems.multilabel import Multilabel
from nnrun.components.problems.regression import Regression
from nnrun.core.objective import Objective
from nnrun.core.seams.batch import Batch, Mixed

CPU = torch.device("cpu")


def batch_of(targets: Tensor, mixed: Mixed | None = None, inputs: Tensor | None = None) -> Batch:
    inputs = torch.empty(0) if inputs is None else inputs
    return Batch(inputs, targets, torch.ones(len(targets)), len(targets), mixed, True)


def mixed(targets: Tensor) -> Batch:
    return batch_of(targets, Mixed(targets.flip(0), torch.linspace(0.5, 1, len(targets))))


def test_the_loss_of_mixed_labels_is_that_of_both_by_their_shares():
    """For cross-entropy it is the loss of the mixed targets. Negative control: the loss of the own targets differs."""
    torch.manual_seed(0)
    outputs, targets = torch.randn(6, 3), (torch.rand(6, 3) < 0.5).float()
    batch = mixed(targets)
    losses = Objective(Multilabel(Targets.labels("abc")), BinaryCrossEntropy()).losses(outputs, batch)
    share = batch.mixed.share[:, None]
    torch.testing.assert_close(losses, BinaryCrossEntropy()(outputs, share * targets + (1 - share) * targets.flip(0)))
    assert not torch.allclose(losses, BinaryCrossEntropy()(outputs, targets))


def test_the_loss_of_mixed_values_is_that_of_both_by_their_shares_standardised():
    torch.manual_seed(0)
    outputs, targets = torch.randn(6, 2), 1000 + 30 * torch.randn(6, 2)
    problem = Regression(Targets.values("ab"))
    problem.fit_targets(targets)
    batch = mixed(targets)
    losses = Objective(problem, SquaredError()).losses(outputs, batch)
    own, other = ((outputs - problem.learned(values)).square().mean(1) for values in (targets, targets.flip(0)))
    torch.testing.assert_close(losses, torch.lerp(other, own, batch.mixed.share))
    assert losses.max() < 20, "standardized: of values of 1000 it would be a million"


class WithFeatures(nn.Module):
    """Return the sum of the features of each sample."""

    def forward(self, outputs: Tensor, targets: Tensor, features: Tensor) -> Tensor:
        return features.sum(1)


class WithInputs(nn.Module):
    """Return the sum of the inputs of each sample."""

    def forward(self, outputs: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
        return inputs.sum(1)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def test_a_loss_is_given_the_features_of_the_network_that_was_called_and_of_this_batch():
    """Also for a copy of it, such as an average of the weights. Negative control: the other network's differ."""
    objective = Objective(Classification(Targets.classes("abc")), WithFeatures())
    first, inputs, targets = network(), torch.randn(6, 4), torch.zeros(6, dtype=torch.int64)
    second = copy.deepcopy(first)
    nn.init.ones_(second[0].weight)
    handles = [objective.loss.watch(module, 3) for module in (first, second)]
    batch = batch_of(targets)
    found = [objective.losses(module(inputs), batch) for module in (first, second)]
    for module, losses in zip((first, second), found, strict=True):
        torch.testing.assert_close(losses, module[:2](inputs).sum(1))
    assert not torch.allclose(*found)
    with pytest.raises(ConfigError, match=r"did not call the layer.*transfer\.head=NAME"):
        objective.losses(torch.randn(6, 3), batch)
    for handle in handles:
        handle.remove()
    assert not first[2]._forward_pre_hooks


def test_features_pass_gradients_on_and_are_fp32():
    objective = Objective(Classification(Targets.classes("abc")), WithFeatures())
    module, batch = network(), batch_of(torch.zeros(6, dtype=torch.int64))
    objective.loss.watch(module, 3)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = module(torch.randn(6, 4)).float()
    losses = objective.losses(outputs, batch)
    assert losses.dtype == torch.float32
    losses.sum().backward()
    assert module[0].weight.grad is not None and module[0].weight.grad.abs().sum() > 0


def test_a_loss_is_given_the_inputs_where_it_asks_for_them():
    inputs = torch.randn(6, 4)
    objective = Objective(Classification(Targets.classes("abc")), WithInputs())
    losses = objective.losses(torch.randn(6, 3), batch_of(torch.zeros(6, dtype=torch.int64), inputs=inputs))
    assert torch.equal(losses, inputs.sum(1))


class Sums2:
    """Count samples and sum predictions, under the names given."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.higher_is_better = {names[0]: False}

    def init(self, device):
        return {"total": torch.zeros((), dtype=torch.float64)}

    def update(self, sums, outputs, losses, batch):
        sums["total"] += outputs.double().sum()

    def compute(self, sums):
        return dict.fromkeys(self.names, float(sums["total"]))


def test_metrics_beside_the_problem_s_are_given_predictions_and_have_their_option_s_name():
    problem = Regression(Targets.values())
    targets = torch.tensor([[100.0], [300.0]])
    problem.fit_targets(targets)
    added = {"one": Sums2(("one",)), "value": Sums2(("value",)), "two": Sums2(("low", "high"))}
    objective = Objective(problem, SquaredError(), added)
    sums = objective.eval_metric.init(CPU)
    outputs = torch.tensor([[-1.0], [1.0]])
    batch = batch_of(targets)
    objective.eval_metric.update(sums, outputs, objective.losses(outputs, batch), batch)
    values = objective.eval_metric.compute(sums)
    assert {name: values[name] for name in ("one", "value", "two_low", "two_high")} == dict.fromkeys(
        ("one", "value", "two_low", "two_high"), 400.0
    )
    assert values["r2"] == 1
    ways = objective.higher_is_better
    assert (ways["one"], ways["two_low"], ways["r2"], "two_high" in ways) == (False, False, True, False)


def test_a_metric_with_the_name_of_one_of_the_problem_s_is_refused():
    with pytest.raises(ConfigError, match="metric=r2 has the name of a metric of the problem"):
        Objective(Regression(Targets.values()), SquaredError(), {"r2": Sums2(("r2",))})


class Replacing(Sums2):
    """Replace the sum by a new tensor instead of adding to it in place."""

    def update(self, sums, outputs, losses, batch):
        sums["total"] = sums["total"] + outputs.double().sum()


def test_a_metric_that_does_not_add_in_place_counts_every_batch_all_the_same():
    objective = Objective(Regression(Targets.values()), SquaredError(), {"one": Replacing(("one",))})
    batch, sums = batch_of(torch.zeros(2, 1)), objective.eval_metric.init(CPU)
    for _ in range(2):
        objective.eval_metric.update(sums, torch.ones(2, 1), torch.zeros(2), batch)
    assert objective.eval_metric.compute(sums)["one"] == 4


@pytest.mark.parametrize("given", [None, {"total": 0.0}])
def test_a_metric_whose_sums_are_no_tensors_is_refused(given):
    metric = Sums2(("one",))
    metric.init = lambda device: given
    with pytest.raises(ConfigError, match=r"metric\.one: init returns .*; allowed: a dict with a tensor for each name"):
        Objective(Regression(Targets.values()), SquaredError(), {"one": metric}).eval_metric.init(CPU)


@pytest.mark.parametrize("ways", [True, None, {"one": "max"}])
def test_a_metric_that_says_oddly_which_way_is_better_is_refused(ways):
    metric = Sums2(("one",))
    metric.higher_is_better = ways
    with pytest.raises(
        ConfigError, match=r"metric\.one: higher_is_better is .*; allowed: a dict with true or false for each name"
    ):
        Objective(Regression(Targets.values()), SquaredError(), {"one": metric})


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda outputs, targets: outputs[:, 0].detach(), r"loss returns values without a gradient"),
        (lambda outputs, targets: outputs.argmax(1), r"loss returns values of int64; allowed: floats"),
        (lambda outputs, targets: None, r"loss returns a NoneType for .*; allowed: one value per sample, \(2,\)$"),
        (
            lambda outputs, targets: outputs.mean(),
            r"allowed: one value per sample, \(2,\); set the loss's reduction: none",
        ),
    ],
)
def test_a_loss_that_nothing_can_be_trained_by_is_refused_in_its_own_name(loss, words):
    objective = Objective(Regression(Targets.values()), loss)
    with pytest.raises(ConfigError, match=words):
        objective.losses(torch.ones(2, 1, requires_grad=True), batch_of(torch.zeros(2, 1)))


def test_members_of_a_network_learn_each_on_its_own():
    """The loss of a sample is the mean of theirs, not that of the mean of their scores; the next batch has none."""
    objective = Objective(Classification(Targets.classes(["a", "b"])), nn.CrossEntropyLoss(reduction="none"))
    members = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    batch = Batch(torch.zeros(3, 1), torch.tensor([0, 1, 1]), torch.ones(3), 3)
    outputs = objective.loss.take({"scores": members.mean(1), "members": members})
    found = objective.losses(outputs, batch)
    each = [nn.functional.cross_entropy(members[:, member], batch.targets, reduction="none") for member in range(4)]
    torch.testing.assert_close(found, torch.stack(each).mean(0))
    alone = objective.losses(objective.loss.take(members.mean(1)), batch)
    torch.testing.assert_close(alone, nn.functional.cross_entropy(members.mean(1), batch.targets, reduction="none"))
    assert not torch.allclose(found, alone)
