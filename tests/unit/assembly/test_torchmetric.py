"""Metrics of torchmetrics, fed batch by batch with padding, against the same metrics of all samples at once."""

from __future__ import annotations

import pytest
import torch
import torchmetrics
from torch import Tensor
from torchmetrics import classification, regression

from nnrun.assembly.kinds import is_torchmetric
from nnrun.assembly.torchmetric import TorchMetric
from nnrun.base.errors import ConfigError
from nnrun.base.targets import Targets
from nnrun.core.seams.batch import Batch

CPU = torch.device("cpu")
CLASSES, LABELS, VALUES = Targets.classes("abcd"), Targets.labels("abcd"), Targets.values("abcd")


def draw(targets: Targets, num_samples: int = 37) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    outputs = torch.randn(num_samples, targets.num_outputs)
    if targets.kind == "classes":
        return outputs.softmax(1), torch.randint(targets.num_outputs, (num_samples,))
    if targets.kind == "labels":
        return outputs.sigmoid(), (torch.rand(outputs.shape) < 0.4).float()
    return outputs, outputs + torch.randn(outputs.shape)


def measure(metric: TorchMetric, predictions: Tensor, targets: Tensor, batch_size: int = 8) -> dict[str, float]:
    """The last batch is padded with its own first samples, as the loop does it, of weight 0."""
    sums = metric.init(CPU)
    for given, true in zip(predictions.split(batch_size), targets.split(batch_size), strict=True):
        missing = batch_size - len(true)
        weight = torch.cat([torch.ones(len(true)), torch.zeros(missing)])
        batch = Batch(torch.empty(0), torch.cat([true, targets[:missing]]), weight, len(true))
        metric.update(sums, torch.cat([given, predictions[:missing]]), torch.zeros(batch_size), batch)
    return metric.compute(sums)


@pytest.mark.parametrize(
    ("targets", "make", "way"),
    [
        (CLASSES, lambda: classification.MulticlassAUROC(4), True),
        (CLASSES, lambda: classification.MulticlassCohenKappa(4), True),
        (CLASSES, lambda: classification.MulticlassCalibrationError(4), False),
        (LABELS, lambda: classification.MultilabelF1Score(4), True),
        (LABELS, lambda: classification.MultilabelHammingDistance(4), False),
        (VALUES, regression.MeanAbsolutePercentageError, False),
        (VALUES, regression.R2Score, True),
        (Targets.values(), regression.SpearmanCorrCoef, True),
        (Targets.values(), regression.PearsonCorrCoef, None),
        (Targets.labels("a"), classification.BinaryAccuracy, True),
    ],
)
def test_a_metric_gives_what_it_gives_of_all_samples_at_once(targets, make, way):
    """Negative control: with the padding counted it is another number. A second evaluation begins anew."""
    predictions, true = draw(targets)
    flat = [
        (t if t.shape[1:] != (1,) else t[:, 0])
        for t in (predictions, true.long() if targets.kind == "labels" else true)
    ]
    expected = make()
    expected.update(*flat)
    metric = TorchMetric(make(), "mine", targets)
    for _ in range(2):
        assert measure(metric, predictions, true) == {"value": pytest.approx(expected.compute().item(), rel=1e-5)}
    expected.update(*(tensor[:3] for tensor in flat))
    assert measure(metric, predictions, true)["value"] != pytest.approx(expected.compute().item(), rel=1e-5)
    assert metric.higher_is_better == ({} if way is None else {"value": way})


def test_a_collection_gives_each_by_its_name():
    predictions, true = draw(CLASSES)
    parts = [classification.MulticlassAccuracy(4), classification.MulticlassCalibrationError(4)]
    metric = TorchMetric(torchmetrics.MetricCollection(parts), "both", CLASSES)
    values = measure(metric, predictions, true)
    assert values.keys() == {"MulticlassAccuracy", "MulticlassCalibrationError"}
    assert metric.higher_is_better == {"MulticlassAccuracy": True, "MulticlassCalibrationError": False}


def test_a_metric_that_does_not_say_which_way_is_better():
    assert TorchMetric(classification.MulticlassConfusionMatrix(4), "mine", CLASSES).higher_is_better == {}


def test_several_numbers_are_refused():
    metric = TorchMetric(classification.MulticlassF1Score(4, average=None), "mine", CLASSES)
    with pytest.raises(ConfigError, match=r"metric\.mine returns 4 numbers; allowed: one.*average: macro"):
        measure(metric, *draw(CLASSES))


def test_which_classes_are_of_torchmetrics():
    class Own(classification.MulticlassAccuracy):
        """Derived from one."""

    assert is_torchmetric(Own)
    assert is_torchmetric(torchmetrics.MetricCollection)
    assert not is_torchmetric(torch.nn.Module)
