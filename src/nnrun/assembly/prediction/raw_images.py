"""Batches of samples to predict for; images are decoded ahead, and only a few are in memory at a time."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import NamedTuple

import torch
from torch import Tensor

from nnrun.assembly.prediction.image_parts import decoded_parts
from nnrun.base.errors import DataError
from nnrun.components.data.conversion import AS_BEFORE, Conversion
from nnrun.components.data.images import ImageKind, decode
from nnrun.components.data.tally import Tally
from nnrun.core.seams.data import Tree
from nnrun.core.trees import num_samples, samples_of

# The most bytes that a batch takes as fp32: larger batches are no faster, and take memory for each step of the network.
_BATCH_BYTES = 2**25
_FP32_BYTES = 4


class Samples(NamedTuple):
    """A batch of samples: their names, their numbers in the input, from 1, and a tree of raw tensors.

    For images that is one tensor, uint8 `(N, C, H, W)`.
    """

    names: list[str]
    numbers: list[int]
    inputs: Tree


class Intake(NamedTuple):
    """What a network takes: the shape of an image, the batch size, and how image files are converted."""

    in_shape: tuple[int, ...]
    batch_size: int
    conversion: Conversion = AS_BEFORE
    # Decodes what a name stands for.
    read: Callable[..., tuple[ImageKind, Tensor]] = decode


def of_tree(name: str, inputs: Tree, batch_size: int) -> Generator[Samples, None, None]:
    """Yield the samples of a tree of tensors in batches; their names are `name#1` and so on."""
    total = num_samples(inputs)
    for start in range(0, total, batch_size):
        numbers = list(range(start + 1, min(start + batch_size, total) + 1))
        yield Samples(
            [f"{name}#{number}" for number in numbers], numbers, samples_of(inputs, slice(start, numbers[-1]))
        )


def of_files(
    files: Sequence[str],
    intake: Intake,
    refuse: Callable[[DataError], None],
    tally: Tally,
    *,
    in_processes: bool = False,
) -> Generator[Samples, None, None]:
    """Yield the images of files in batches, in the files' order; large images in smaller batches.

    `refuse` is called for each file that cannot be read, in its turn; if it returns, the file is skipped. `tally`
    counts files of more than 8 bits. `in_processes` allows decoding many files in processes.
    """
    channels, height, width = intake.in_shape
    fitting = _BATCH_BYTES // (_FP32_BYTES * math.prod(intake.in_shape))
    batch_size = min(intake.batch_size, max(1, fitting))
    decode_one = functools.partial(intake.read, channels=channels, size=(height, width), conversion=intake.conversion)
    names: list[str] = []
    numbers: list[int] = []
    pixels: list[Tensor] = []
    start = 1
    with closing(decoded_parts(files, decode_one, in_processes=in_processes)) as parts:
        for of_part, part in parts:
            for failure in part.failures.values():
                refuse(failure)
            read_ones = [place for place in range(len(of_part)) if place not in part.failures]
            names += [of_part[place] for place in read_ones]
            numbers += [start + place for place in read_ones]
            pixels += [] if part.pixels is None else [part.pixels]
            start += len(of_part)
            tally.add(part.kinds)
            while len(names) >= batch_size:
                whole = torch.cat(pixels)
                yield Samples(names[:batch_size], numbers[:batch_size], whole[:batch_size])
                names, numbers, pixels = names[batch_size:], numbers[batch_size:], [whole[batch_size:]]
    if names:
        yield Samples(names, numbers, torch.cat(pixels))
