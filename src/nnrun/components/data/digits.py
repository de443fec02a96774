"""The bundled handwritten digits (UCI Machine Learning Repository, Alpaydin & Kaynak 1998): 1,797 images of 8x8."""

from __future__ import annotations

import functools
import gzip
import zlib
from pathlib import Path

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.targets import Targets
from nnrun.components.data.normalize import Normalize
from nnrun.core.seams.data import Dataset, Split
from nnrun.core.splits import stratified_indices

# Their license is beside them.
FILE = Path(__file__).parent / "embedded" / "digits.csv.gz"
NUM_SAMPLES = 1797
NUM_TEST = 360
STORED_SIZE = 8
# Error of a small CNN in 5-fold cross-validation on the training split, run twice: 2.9 %; enlarged to 28x28: 3.5 %.
ENLARGED_SIZE = 20
MARGIN = 4
MAX_STORED_PIXEL = 16
# Of the training split:
#   pixels = Digits().load().train.inputs / 255; pixels.mean(), pixels.std()
MEAN, STD = 0.1560, 0.2775


class Digits:
    """Open the digits at 28x28, with 360 test samples that are the same in every run."""

    def load(self) -> Dataset:
        """Read the embedded file."""
        images, targets = read_digits(FILE)
        # A constant: the test split is a property of the data set, not of a run and its seeds.
        train, test = stratified_indices(targets, NUM_TEST, torch.Generator().manual_seed(0))
        samples = Split(enlarge(images), targets)
        return Dataset(
            train=samples.subset(train),
            test=samples.subset(test),
            targets=Targets.classes("0123456789"),
            preprocessing=Normalize((MEAN,), (STD,)),
        )


def read_digits(path: Path) -> tuple[Tensor, Tensor]:
    """Return the images as uint8 0..16 `(N, 8, 8)` and their labels `(N,)`; a line is 64 pixels and the label."""
    try:
        rows = _rows_of(path.read_bytes())
    except (OSError, EOFError, zlib.error, ValueError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read: {error}; install nnrun again") from error
    return rows[:, :-1].reshape(-1, STORED_SIZE, STORED_SIZE), rows[:, -1].to(torch.int64)


@functools.lru_cache(maxsize=1)
def _rows_of(content: bytes) -> Tensor:
    """Return the lines of the file, `(N, 65)`, for all that a process trains; they are shared: do not change them."""
    lines = gzip.decompress(content).splitlines()
    values = bytearray(map(int, b",".join(lines).split(b",")))
    return torch.frombuffer(values, dtype=torch.uint8).view(NUM_SAMPLES, STORED_SIZE**2 + 1)


def enlarge(images: Tensor) -> Tensor:
    """Return `(N, 8, 8)` of 0..16 as uint8 `(N, 1, 28, 28)` of 0..255: 20x20 bilinear with a margin of 4, like MNIST.

    Computed in whole numbers, so every machine gets the same bytes.
    """
    # The center of pixel i is at (2i + 1) * 8 / 40 - 1/2 = (4i - 3) / 10 in stored pixels; beyond the outer centers,
    # the outer pixels are repeated.
    centres = (4 * torch.arange(ENLARGED_SIZE) - 3).clamp(0, 10 * (STORED_SIZE - 1))
    stored_centres = 10 * torch.arange(STORED_SIZE)
    weights = (10 - (centres[:, None] - stored_centres).abs()).clamp(min=0).to(torch.float32)
    sums = (weights @ images.to(torch.float32) @ weights.T).to(torch.int32)
    full = 10 * 10 * MAX_STORED_PIXEL
    pixels = ((sums * 255 + full // 2) // full).to(torch.uint8)
    return torch.nn.functional.pad(pixels, (MARGIN, MARGIN, MARGIN, MARGIN))[:, None]
