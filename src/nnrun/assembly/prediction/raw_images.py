"""The samples to predict for in batches; images are decoded ahead by threads, and only a few are held at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import NamedTuple

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.host import num_cores
from nnrun.base.threads import in_threads
from nnrun.components.data.images import ImageKind, decode
from nnrun.components.data.tally import Tally
from nnrun.core.seams.data import Tree
from nnrun.core.trees import num_samples, samples_of

# Files that a thread decodes at a go.
_PART = 16
_MAX_THREADS = 16

# What an image file is, and its pixels.
Decoded = tuple[ImageKind, Tensor]


class Samples(NamedTuple):
    """Some of the samples: what they are called, which they are in the input, from 1, and a tree of raw tensors.

    Of images that is one, uint8 `(N, C, H, W)`.
    """

    names: list[str]
    numbers: list[int]
    inputs: Tree


def of_tree(name: str, inputs: Tree, batch_size: int) -> Generator[Samples, None, None]:
    """Yield the samples of a tree of tensors in batches; they are called `name#1` and so on."""
    total = num_samples(inputs)
    for start in range(0, total, batch_size):
        numbers = list(range(start + 1, min(start + batch_size, total) + 1))
        yield Samples(
            [f"{name}#{number}" for number in numbers], numbers, samples_of(inputs, slice(start, numbers[-1]))
        )


def of_files(
    files: Sequence[str], in_shape: tuple[int, ...], batch_size: int, refuse: Callable[[DataError], None], tally: Tally
) -> Generator[Samples, None, None]:
    """Yield the images of files in batches, in the files' order.

    `refuse` is told of each that cannot be read, when its turn comes; if it returns, the file is left out. `tally` says
    what is white in images of more than 8 bits, and counts them.
    """
    names: list[str] = []
    numbers: list[int] = []
    waiting: list[Tensor] = []
    with closing(_decoded(files, in_shape, tally.white)) as decoded:
        for number, image in enumerate(decoded, 1):
            if isinstance(image, DataError):
                refuse(image)
                continue
            kind, pixels = image
            tally.add((kind,))
            names.append(files[number - 1])
            numbers.append(number)
            waiting.append(pixels)
            if len(waiting) == batch_size:
                yield Samples(names, numbers, torch.stack(waiting))
                names, numbers, waiting = [], [], []
    if waiting:
        yield Samples(names, numbers, torch.stack(waiting))


def _decoded(
    files: Sequence[str], in_shape: tuple[int, ...], white: float | None
) -> Generator[Decoded | DataError, None, None]:
    """Yield what each file is and its pixels in turn, or why there are none; threads work some files ahead."""
    parts = [files[start : start + _PART] for start in range(0, len(files), _PART)]
    read = functools.partial(_read_part, in_shape=in_shape, white=white)
    with closing(in_threads(read, parts, min(num_cores(), _MAX_THREADS))) as done:
        for images in done:
            yield from images


def _read_part(files: Sequence[str], in_shape: tuple[int, ...], white: float | None) -> list[Decoded | DataError]:
    """Return what a few files are and their pixels, or why there are none."""
    channels, height, width = in_shape
    images: list[Decoded | DataError] = []
    for file in files:
        try:
            images.append(decode(file, channels, (height, width), white))
        except DataError as error:
            images.append(error)
    return images
