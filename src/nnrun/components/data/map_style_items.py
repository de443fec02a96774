"""Samples `(x, y)` of a map-style Dataset: images of any kind to values in one form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from nnrun.base.errors import DataError, NnrunError
from nnrun.base.foreign_errors import of_the_machine, place_of
from nnrun.components.data.image_form import Form
from nnrun.components.data.images import FLOAT_MODE, ImageKind, Picture, from_pillow, kind_of, pillow_image
from nnrun.core.sample_hashes import identities

FEW_CHANNELS = (1, 3)


class Items:
    """The samples of several splits, split after split; `name` is the name of the whole in messages."""

    def __init__(self, name: str, datasets: Mapping[str, Any], *, in_processes: bool) -> None:
        self.in_processes = in_processes
        self._name = name
        self._datasets = datasets

    def __len__(self) -> int:
        return sum(map(len, self._datasets.values()))

    @property
    def in_threads(self) -> bool:
        """Never: a foreign class may not be thread-safe."""
        return False

    def kind(self, index: int) -> ImageKind:
        """Return the kind of a sample's image."""
        part, place = self._place(index)
        with reading(f"{self._name}, {part}: sample {place}"):
            return _pictured(pair_of(self._datasets[part][place])[0])[0]

    def read(self, index: int, form: Form) -> tuple[Picture, Any]:
        """Return a sample's image in a form, and its label."""
        part, place = self._place(index)
        called = f"{self._name}, {part}: sample {place}"
        with reading(called):
            picture, label = pair_of(self._datasets[part][place])
            kind, values = _pictured(picture)
            if kind.is_float != form.dtype.is_floating_point:
                raise ValueError("some samples are floats and some are pixels")
            if isinstance(values, Tensor):
                wanted = (form.channels, form.height, form.width)
                if tuple(values.shape) != wanted:
                    raise ValueError(f"it has shape {tuple(values.shape)}, but most have {wanted}")
                if not values.isfinite().all():
                    raise ValueError("it contains NaN or infinity")
                return Picture(kind, values, identities(values[None]).numpy().tobytes()), plain_label(label)
            size = (form.height, form.width)
            return from_pillow(values, form.channels, size, form.conversion, called), plain_label(label)

    def _place(self, index: int) -> tuple[str, int]:
        """Return the split of a sample, and its index there."""
        for part, dataset in self._datasets.items():
            if index < len(dataset):
                return part, index
            index -= len(dataset)
        raise IndexError(index)


def pair_of(item: Any) -> tuple[Any, Any]:
    """Return the image and the label of a sample, as its data set returns them."""
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise TypeError(f"it is {_a(item)}; a sample is a pair (x, y)")
    return item[0], item[1]


@contextmanager
def reading(called: str) -> Iterator[None]:
    """Turn an exception of a data set for a sample into a DataError that names the sample and the line of code."""
    try:
        yield
    except NnrunError:
        raise
    except Exception as error:  # the user's own code may raise anything
        if of_the_machine(error):
            raise
        raise DataError(f"{called}: {type(error).__name__}: {error}{place_of(error)}") from error


def _pictured(picture: Any) -> tuple[ImageKind, Any]:
    """Return the kind of an image, and the image: pixels as a PIL image, floats as a tensor `(C, H, W)`."""
    if hasattr(picture, "getexif"):
        return kind_of(picture), picture
    first_is_channel = isinstance(picture, Tensor)
    values = torch.as_tensor(picture) if hasattr(picture, "__array__") or isinstance(picture, Tensor) else None
    if values is None:
        raise TypeError(f"x is {_a(picture)}; an image is a PIL image, a numpy array or a tensor")
    if values.dim() == 2:
        values = values[None]
    elif values.dim() != 3 or not {values.shape[0], values.shape[2]} & set(FEW_CHANNELS):
        raise ValueError(f"x has shape {tuple(values.shape)}; an image is (H, W), (C, H, W) or (H, W, C)")
    elif values.shape[0] not in FEW_CHANNELS or (not first_is_channel and values.shape[2] in FEW_CHANNELS):
        values = values.permute(2, 0, 1)
    if values.dtype == torch.uint8:
        image = pillow_image(values)
        return kind_of(image), image
    if not values.is_floating_point():
        raise TypeError(f"x is {values.dtype}; images are uint8 or float")
    channels, height, width = values.shape
    return ImageKind(height, width, FLOAT_MODE, channels == 1, True), values.to(torch.float32)


def plain_label(label: Any) -> Any:
    """Return a label as a plain value, which can be stored and sent to other processes."""
    return label.item() if hasattr(label, "item") and getattr(label, "ndim", 1) == 0 else label


def _a(value: object) -> str:
    """Return the type of a value in words."""
    length = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"a {type(value).__name__}{length}"
