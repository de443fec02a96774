"""What classifies: the network of a checkpoint, or an exported one, as a function from pixels to scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnrun.assembly.data.scales import FLOATS
from nnrun.assembly.job import Job
from nnrun.assembly.network import load_classifier, to_device
from nnrun.assembly.objective import load_problem, make_problem
from nnrun.assembly.prediction.raw_images import Images
from nnrun.base.errors import ArtifactError, ConfigError, DataError
from nnrun.base.foreign_errors import calling
from nnrun.checkpoints.saved_run import SavedNetwork
from nnrun.components.data.image_form import AUTO
from nnrun.components.data.images import MAX_PIXELS, shown
from nnrun.core.evaluate import explaining_memory
from nnrun.core.seams.data import Tree
from nnrun.core.seams.problem import Output, Problem


@dataclass(frozen=True)
class Predictor:
    """A function from raw samples on the host, for images uint8 `(N, C, H, W)`, to `(N, K)`; and what these are.

    `in_shape` is that of a sample; of one of several tensors, a tree of their shapes. It gives `scores` or
    `probabilities`, or, where `output` is None, what its network does. `close` ends what runs it. `white` is what
    becomes 255 of greys of more than 8 bits; None where 65535 does.
    """

    outputs: Callable[[Tree], Tensor]
    output: Output | None
    problem: Problem
    in_shape: Tree
    preprocessing: Mapping[str, Any]
    close: Callable[[], None] = lambda: None
    white: float | None = None

    @torch.inference_mode()
    def predict(self, images: Images) -> Tensor:
        """Return the predictions of some images, `(N, K)` on the host; raise ArtifactError where one is no number."""
        outputs = self.outputs(images.pixels)
        self.problem.check_outputs(outputs, len(images.pixels))
        # In fp64 two scores that are not the same stay two probabilities.
        outputs = outputs.cpu().double()  # waits for the device
        scores = self.problem.scores(outputs) if self.output is None else outputs
        predictions = scores if self.output == "probabilities" else self.problem.predictions(scores)
        wrong = predictions.isnan().any(1).nonzero()
        if len(wrong):
            raise ArtifactError(f"the network gives NaN or infinite scores for {shown(images.names[int(wrong[0])])}")
        return predictions


def predictor_of_checkpoint(job: Job, saved: SavedNetwork) -> Predictor:
    """Return the network of a checkpoint on the job's device, in fp32, as it is evaluated."""
    classifier = load_classifier(job, saved)
    network, channels_last = to_device(classifier.network, job)

    def outputs(pixels: Tensor) -> Tensor:
        with calling("the preprocessing of data"):
            inputs = classifier.preprocessing(pixels.to(job.device, non_blocking=True))
            if channels_last:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
        with calling("model"), explaining_memory(job.device, len(pixels)):
            return network(inputs)

    white = job.settings.data.white
    depth = None if white in (None, AUTO) else float(white)
    problem = make_problem(job, saved.targets)
    load_problem(problem, saved)
    return Predictor(outputs, None, problem, classifier.in_shape, classifier.preprocessing.to_plain(), white=depth)


def image_shape(predictor: Predictor) -> tuple[int, ...]:
    """Return the shape of a sample; raise ConfigError unless it is an image's, grey or RGB.

    Raises DataError where the images that a network learned were no pixels but floats, whose scale none knows;
    ArtifactError where a file claims a shape so large that no image of that size would be decoded.
    """
    in_shape = predictor.in_shape
    if not isinstance(in_shape, tuple) or len(in_shape) != 3 or in_shape[0] not in (1, 3):
        raise ConfigError(
            f"a prediction reads images, grey or RGB, and this network takes samples of the shape {in_shape}; "
            "nnrun.load(PATH) gives it to a program of your own"
        )
    if in_shape[1] * in_shape[2] > MAX_PIXELS:
        raise ArtifactError(
            f"the network of ckpt= says that it takes images of {in_shape[1]:,} x {in_shape[2]:,}, and at most "
            f"{MAX_PIXELS:,} pixels are decoded: the file is damaged, or hostile"
        )
    if predictor.preprocessing["_target_"] == FLOATS:
        raise DataError(
            "a prediction reads pixels from 0 to 255, and this network was trained on samples stored as floats; "
            "nnrun.load(PATH) gives it to a program of your own"
        )
    return in_shape
