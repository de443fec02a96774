"""Small pictures of samples, as PNG files, to be kept with their results."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nnrun.core.seams.data import Split, Tree

# Maximum height and width in pixels; a larger picture is scaled down, none is scaled up.
_MOST_HEIGHT, _MOST_WIDTH = 96, 192
# Maximum size of all pictures of a run: a job of a sweep keeps them too.
_MOST_BYTES = 2**19


def pictures_of(split: Split, indices: Sequence[int], most_bytes: int = _MOST_BYTES) -> dict[int, bytes]:
    """Return PNG files of the samples at `indices`, by index, until they take `most_bytes`; none if they are no images.

    Images are inputs `(N, C, H, W)` with one or three channels, uint8 or floats from 0 to 1: the first such of several
    inputs.
    """
    if not indices or not any(_may_be_images(leaf) for leaf in tree_leaves(split.inputs)):
        return {}
    pixels = _pixels(split.take(torch.tensor(indices))[0])
    found: dict[int, bytes] = {}
    for index, picture in zip(indices, () if pixels is None else pixels, strict=pixels is not None):
        content = _png(picture)
        most_bytes -= len(content)
        if most_bytes < 0:
            break
        found[index] = content
    return found


def _may_be_images(inputs: Tensor) -> bool:
    """Return whether inputs have the shape of images; they may be `Stored`."""
    return len(inputs.shape) == 4 and inputs.shape[1] in (1, 3)


def _pixels(raw: Tree) -> Tensor | None:
    """Return the images among raw samples as uint8, `(N, C, H, W)`; None if there are none."""
    for leaf in tree_leaves(raw):
        if _may_be_images(leaf) and leaf.dtype == torch.uint8:
            return leaf
        if _may_be_images(leaf) and leaf.is_floating_point() and bool(((leaf >= 0) & (leaf <= 1)).all()):
            return (leaf * 255).round().byte()
    return None


def _png(picture: Tensor) -> bytes:
    """Return an image, uint8 `(C, H, W)`, as the bytes of a PNG."""
    from PIL import Image  # noqa: PLC0415 - only for samples that are images

    image = Image.fromarray(picture.permute(1, 2, 0).squeeze(2).contiguous().numpy())
    height, width = picture.shape[1:]
    scale = min(_MOST_HEIGHT / height, _MOST_WIDTH / width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()
