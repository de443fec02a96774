"""The common form of all images of a data set: as set, or inferred from the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from nnrun.components.data.conversion import AS_BEFORE, Conversion
from nnrun.components.data.images import ImageKind

# The value of data.white and data.image_size with which the images decide.
AUTO = "auto"
# With `auto`, larger images (by their shorter side) are resized to a square of this size, the usual one of networks for
# photographs.
AUTO_SIZE = 224


@dataclass(frozen=True)
class Form:
    """The form of every image: gray or RGB, height and width, a type of value; and the conversion to it.

    The `white` of the conversion is None where there are no grays of more than 8 bits, or where 65535 becomes 255.
    """

    channels: int
    height: int
    width: int
    dtype: torch.dtype = torch.uint8
    conversion: Conversion = AS_BEFORE

    @property
    def num_bytes(self) -> int:
        """How many bytes an image takes."""
        return self.channels * self.height * self.width * self.dtype.itemsize


@dataclass(frozen=True)
class Wanted:
    """The settings about the form, and whether unreadable images end the run or are skipped.

    With `image_size` and `channels` None, or `auto`, the images decide.
    """

    image_size: int | Sequence[int] | str | None
    channels: int | None
    on_bad: str
    white: float | str | None
    resize: str = "crop"
    jpeg_draft: bool = False

    def for_network(self, in_shape: Sequence[int] | Mapping[str, Any] | None) -> Wanted:
        """Return the same, with the size and channels of a network's `in_shape` where the settings leave them open."""
        if in_shape is None or isinstance(in_shape, Mapping) or len(in_shape) != len("CHW"):
            return self  # the network does not take images; the mismatch is reported later
        size = tuple(in_shape[1:]) if self.image_size in (None, AUTO) else self.image_size
        return replace(self, image_size=size, channels=self.channels or in_shape[0])

    @property
    def size(self) -> tuple[int, int] | None:
        """The height and width, if they are set."""
        if self.image_size is None or isinstance(self.image_size, str):
            return None
        if isinstance(self.image_size, int):
            return self.image_size, self.image_size
        return self.image_size[0], self.image_size[1]

    def to_plain(self) -> list[Any]:
        """Return the settings that distinguish one decoding from another."""
        return [self.size or self.image_size, self.channels, self.on_bad, self.white, self.resize, self.jpeg_draft]


def conversion_of(data: Mapping[str, Any]) -> Conversion:
    """Return the conversion in the settings of `data`, after the images have decided those that are open."""
    white = data.get("white")
    resize, jpeg_draft = data.get("resize", AS_BEFORE.resize), bool(data.get("jpeg_draft"))
    return Conversion(None if white in (None, AUTO) else float(white), resize, jpeg_draft)


def form_of(kinds: Mapping[ImageKind, int], wanted: Wanted) -> Form | None:
    """Return the form for images of these kinds: gray if all are, white by the deepest, the size from `size_of`.

    None where there are no images.
    """
    if not kinds:
        return None
    channels = wanted.channels
    dtype = torch.float32 if any(kind.is_float for kind in kinds) else torch.uint8
    size = wanted.size or size_of(kinds, is_auto=wanted.image_size == AUTO and dtype == torch.uint8)
    if channels is None:
        channels = 1 if all(kind.is_grey for kind in kinds) else 3
    white = wanted.white
    if white == AUTO:
        white = max((kind.depth for kind in kinds if kind.depth is not None), default=None)
    conversion = Conversion(None if white is None else float(white), wanted.resize, wanted.jpeg_draft)
    return Form(channels, *size, dtype, conversion)


def size_of(kinds: Mapping[ImageKind, int], *, is_auto: bool) -> tuple[int, int]:
    """Return the height and width for images of these kinds: the most common one, of equally common ones the largest.

    With `is_auto`, this holds only if most images have it and it is at most AUTO_SIZE; otherwise the size is a square
    of the median of the shorter sides, at most AUTO_SIZE.
    """
    sizes = _sizes(kinds)
    commonest = max(sizes, key=lambda size: (sizes[size], size))
    if not is_auto or (_is_shared(sizes) and min(commonest) <= AUTO_SIZE):
        return commonest
    side = min(AUTO_SIZE, _middle_side(sizes))
    return side, side


def is_middle(kinds: Mapping[ImageKind, int], wanted: Wanted) -> bool:
    """Return whether the size for images of these kinds is the median of different ones."""
    sizes = _sizes(kinds)
    return bool(wanted.image_size == AUTO and sizes and not _is_shared(sizes) and _middle_side(sizes) < AUTO_SIZE)


def _sizes(kinds: Mapping[ImageKind, int]) -> Counter[tuple[int, int]]:
    """Return the number of images of each height and width."""
    sizes: Counter[tuple[int, int]] = Counter()
    for kind, number in kinds.items():
        sizes[kind.height, kind.width] += number
    return sizes


def _is_shared(sizes: Counter[tuple[int, int]]) -> bool:
    """Return whether most images have the same size."""
    return max(sizes.values()) * 2 > sizes.total()


def _middle_side(sizes: Counter[tuple[int, int]]) -> int:
    """Return the median of the shorter sides of all images."""
    shorter = sorted(min(size) for size in sizes.elements())
    return shorter[len(shorter) // 2]
