"""A prediction has the bits of an evaluation, which gives the network its images with the channels last."""

from __future__ import annotations

import pytest
import torch

from nnrun.assembly.loaded import Loaded
from nnrun.assembly.prediction.predictor import predictor_of
from nnrun.assembly.prediction.raw_images import Samples
from nnrun.base.targets import Targets
from nnrun.components.data.conversion import AS_BEFORE
from nnrun.components.data.normalize import Normalize
from nnrun.components.models.cnn import CNN
from nnrun.components.models.resnet18 import ResNet18
from nnrun.components.problems.classification import Classification


@pytest.mark.parametrize(
    "network",
    [
        lambda: CNN((3, 80, 80), 4, grid=32),
        lambda: CNN((3, 80, 80), 4, batchnorm=True),
        lambda: ResNet18((3, 80, 80), 4),
    ],
    ids=["pools first", "convolution first", "resnet18"],
)
def test_a_prediction_has_the_bits_of_an_evaluation(network):
    torch.manual_seed(0)
    model, preprocessing = network().eval(), Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
    problem = Classification(Targets.classes(("a", "b", "c", "d")))
    raw = torch.randint(0, 256, (6, 3, 80, 80), dtype=torch.uint8)
    predictor = predictor_of(Loaded(model, preprocessing, problem, (3, 80, 80), AS_BEFORE), torch.device("cpu"))
    predictions = predictor.predict(Samples(list("abcdef"), [1, 2, 3, 4, 5, 6], raw))
    with torch.inference_mode():
        outputs = model(preprocessing(raw).contiguous(memory_format=torch.channels_last))
    assert torch.equal(predictions, problem.predictions(outputs.double()))
