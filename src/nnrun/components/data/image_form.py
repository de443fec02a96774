"""The form that all pictures of a data set are brought to: as set, or as most of them have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nnrun.components.data.images import ImageKind

# What data.white says where the images decide.
AUTO = "auto"


@dataclass(frozen=True)
class Form:
    """What every image is brought to: grey or RGB, a height and width, and a type of value.

    `white` is what becomes 255 of greys of more than 8 bits; None where there are none, and where 65535 does.
    """

    channels: int
    height: int
    width: int
    dtype: torch.dtype = torch.uint8
    white: float | None = None

    @property
    def num_bytes(self) -> int:
        """How many bytes an image takes."""
        return self.channels * self.height * self.width * self.dtype.itemsize


@dataclass(frozen=True)
class Wanted:
    """What the settings say of a form, where they do, and whether what cannot be read ends the run or is left out."""

    size: tuple[int, int] | None
    channels: int | None
    on_bad: str
    white: float | str | None

    @classmethod
    def of(
        cls,
        image_size: int | Sequence[int] | None,
        channels: int | None,
        on_bad: str,
        white: float | str | None,
        in_shape: Sequence[int] | Mapping[str, Any] | None,
    ) -> Wanted:
        """Return what the settings ask for; what they leave open, a trained network's `in_shape` decides."""
        if isinstance(in_shape, Mapping) or (in_shape is not None and len(in_shape) != len("CHW")):
            in_shape = None  # of no pictures: that these are some is said where they are held against it
        if image_size is None:
            image_size = tuple(in_shape[1:]) if in_shape else None
        elif isinstance(image_size, int):
            image_size = (image_size, image_size)
        size = None if image_size is None else (image_size[0], image_size[1])
        return cls(size, channels or (in_shape[0] if in_shape else None), on_bad, white)

    def to_plain(self) -> list[Any]:
        """Return what tells one decoding from another."""
        return [self.size, self.channels, self.on_bad, self.white]


def form_of(kinds: Mapping[ImageKind, int], wanted: Wanted) -> Form | None:
    """Return the form for images of these kinds: the commonest size, the larger of two alike; grey if all are; white by
    the deepest.

    None where there are none.
    """
    if not kinds:
        return None
    size, channels = wanted.size, wanted.channels
    dtype = torch.float32 if any(kind.is_float for kind in kinds) else torch.uint8
    if size is None:
        sizes: Counter[tuple[int, int]] = Counter()
        for kind, number in kinds.items():
            sizes[kind.height, kind.width] += number
        size = max(sizes, key=lambda size: (sizes[size], size))
    if channels is None:
        channels = 1 if all(kind.is_grey for kind in kinds) else 3
    white = wanted.white
    if white == AUTO:
        white = max((kind.depth for kind in kinds if kind.depth is not None), default=None)
    return Form(channels, *size, dtype, None if white is None else float(white))
