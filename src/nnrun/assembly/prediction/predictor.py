"""A trained or exported network as a function from samples to predictions."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from nnrun.assembly.loaded import Loaded
from nnrun.assembly.network import to_device
from nnrun.assembly.prediction.given import samples_given
from nnrun.assembly.prediction.raw_images import Samples
from nnrun.assembly.prediction.tables import columns_in
from nnrun.assembly.process import computing_exactly
from nnrun.base.errors import ArtifactError, ConfigError
from nnrun.base.foreign_errors import calling
from nnrun.base.paths import shown
from nnrun.base.targets import Targets
from nnrun.base.visible import distinct
from nnrun.components.data.conversion import AS_BEFORE, Conversion
from nnrun.components.data.table.columns import Column
from nnrun.core.device import Precision
from nnrun.core.evaluate import explaining_memory
from nnrun.core.outputs import scores_of
from nnrun.core.seams.data import Tree
from nnrun.core.seams.problem import Output, Problem
from nnrun.core.trees import num_samples

if TYPE_CHECKING:
    import numpy

# The default number of samples in a batch.
BATCH_SIZE = 256
_FP32 = Precision("fp32", "as it is evaluated")


@dataclass(frozen=True, repr=False)
class Predictor:
    """A trained network, called with samples: one or many, as paths, arrays, tensors, PIL images, dicts of arrays, or
    tables: a dict of columns, a list of dicts, a data frame, or the path of a file.

    Images are uint8 pixels, `(N, C, H, W)`, `(N, H, W, C)` or `(N, H, W)`; PIL images and files are resized and
    converted as the network needs. Paths are files, folders and patterns. For several inputs, pass a dict of arrays by
    name. Calls from several threads take turns; `close`, or a `with` block, ends the process that runs the network.
    """

    outputs: Callable[[Tree], Tensor]
    # The form of what `outputs` returns; None: the network's raw outputs.
    output: Output | None
    problem: Problem
    # The shape of a sample; for samples of several tensors, a tree of shapes.
    in_shape: Tree
    preprocessing: Mapping[str, Any]
    end: Callable[[], None] = lambda: None
    # How image files are read, except for their size and channels.
    conversion: Conversion = AS_BEFORE
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch_size: int = BATCH_SIZE
    # Whether `outputs` takes the columns of a table by name, not coded rows.
    takes_columns: bool = False
    # The title of the column of images in files of rows; None: the only one.
    image: str | None = None
    _turn: threading.RLock = field(default_factory=threading.RLock, compare=False)

    def __repr__(self) -> str:
        return f"<Predictor of {self.targets} for samples {self.in_shape} on {self.device}>"

    @functools.cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns that the network reads, if its samples are rows of a table."""
        return columns_in(self.preprocessing)

    @property
    def targets(self) -> Targets:
        """What is predicted: the kind, and the names of the classes, labels or values."""
        return self.problem.targets

    def __call__(self, inputs: Any, *, top_k: int | None = None) -> list[dict[str, Any]]:
        """Return the prediction for each sample, with the columns of `predictions.csv`: `{"class": "7", ...}`.

        `top_k` adds the K most probable classes. Raises DataError for inputs that cannot be read or do not fit.
        """
        if top_k is not None:
            if not isinstance(top_k, int) or top_k < 1:
                raise ConfigError.of("top_k", top_k, "a whole number from 1 up, or None")
            if self.problem.columns(top_k) == self.problem.columns():
                raise ConfigError(f"top_k={top_k} has no effect: there is no ranking of {self.targets}")
        columns = distinct(self.problem.columns(top_k))
        return [
            dict(zip(columns, row, strict=True))
            for predictions in self._predictions(inputs)
            for row in self.problem.rows(predictions, top_k)
        ]

    def predict_array(self, inputs: Any) -> numpy.ndarray:
        """Return the probabilities or values, float64 `(N, K)`, in the order of `targets.names`."""
        parts = list(self._predictions(inputs))
        return (torch.cat(parts) if parts else torch.empty(0, self.targets.num_outputs, dtype=torch.float64)).numpy()

    def close(self) -> None:
        """End the process of an exported network; without effect on others."""
        self.end()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *cause: object) -> None:
        self.close()

    def _predictions(self, inputs: Any) -> Generator[Tensor, None, None]:
        """Yield the predictions for the inputs of a call, batch by batch."""
        with closing(samples_given(inputs, self)) as batches:
            for samples in batches:
                with computing_exactly(self.device):
                    predictions = self.predict(samples)
                yield predictions

    @torch.inference_mode()
    def predict(self, samples: Samples) -> Tensor:
        """Return the predictions of raw samples, `(N, K)` on the host; raise ArtifactError where one is not finite."""
        with self._turn:
            outputs = self.outputs(samples.inputs)
        self.problem.check_outputs(outputs, num_samples(samples.inputs))
        # fp64, so that different scores do not become equal probabilities.
        outputs = outputs.cpu().double()  # waits for the device
        scores = self.problem.scores(outputs) if self.output is None else outputs
        predictions = scores if self.output == "probabilities" else self.problem.predictions(scores)
        wrong = (~predictions.isfinite()).any(1).nonzero()
        if len(wrong):
            raise ArtifactError(f"the network returns NaN or infinite scores for {shown(samples.names[int(wrong[0])])}")
        return predictions


def predictor_of(
    loaded: Loaded,
    device: torch.device,
    *,
    channels_last: str | bool = "auto",
    precision: Precision = _FP32,
) -> Predictor:
    """Return a predictor that runs a trained network on a device, in fp32 as in evaluation."""
    # Images stay as they are: a convolution with channels-last weights converts its input itself, and layers before it
    # may make the image smaller.
    network, _ = to_device(loaded.network, device, channels_last, precision)

    def outputs(samples: Tree) -> Tensor:
        with calling("the preprocessing of data"):
            inputs = loaded.preprocessing(tree_map(lambda leaf: leaf.to(device, non_blocking=True), samples))
        with calling("model"), explaining_memory(device, num_samples(samples)):
            return scores_of(network(inputs))

    plain = loaded.preprocessing.to_plain()
    read_as, image = loaded.conversion, loaded.image
    return Predictor(
        outputs, None, loaded.problem, loaded.in_shape, plain, conversion=read_as, device=device, image=image
    )
