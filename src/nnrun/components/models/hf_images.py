"""How an image processor of Hugging Face prepares images: its size and normalization, and where nnrun's differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from nnrun.base.errors import ArtifactError
from nnrun.components.models.hf_files import PROCESSORS, HubFiles

_MAX = 255
# Pillow's number of the filter that data=folder scales with; other filters blur or sharpen a little more.
_BILINEAR, _FILTERS = 2, {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
# Models with crop_pct scale the shorter side to the size divided by it, below this size.
_CROP_BELOW = 384


class ReadAs(NamedTuple):
    """The height and width of the images, and mean and standard deviation of their pixels in 0..1."""

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read_as(files: HubFiles) -> ReadAs | None:
    """Return how an image processor prepares images; None if the model has none, or it states no size."""
    plain = _processor(files)
    size = None if plain is None else _size(plain)
    if plain is None or size is None:
        return None
    try:
        mean = tuple(map(float, plain.get("image_mean") or (0.5,)))
        std = tuple(map(float, plain.get("image_std") or (0.5,)))
        if plain.get("do_normalize") is False:
            mean, std = (0.0,), (1.0,)
        # Pixels are multiplied by this; nnrun's are divided by 255 first.
        factor = _MAX * float(plain.get("rescale_factor", 1 / _MAX)) if plain.get("do_rescale", True) else float(_MAX)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"the image processor of {files.title} cannot be read: {error}") from error
    return ReadAs(size, tuple(one / factor for one in mean), tuple(one / factor for one in std))


def differences(files: HubFiles) -> list[str]:
    """Return notes on what an image processor does in another way than nnrun."""
    plain = _processor(files)
    if plain is None:
        return [f"{files.title} has no image processor ({PROCESSORS[0]}): size and normalization follow from the data"]
    notes = []
    scales = plain.get("resample", _BILINEAR)
    if scales != _BILINEAR:
        notes.append(
            f"images are scaled bilinearly, by the image processor of the model {_FILTERS.get(scales, scales)}"
        )
    size, crops = _side(plain.get("size")), _size(plain)
    is_cropped = bool(plain.get("do_center_crop")) and size is not None and crops is not None and size > min(crops)
    if is_cropped or (plain.get("crop_pct") and crops and crops[0] < _CROP_BELOW):
        notes.append(
            "images are scaled to the size of the model, and cropped only where their shape differs; its image "
            "processor scales them to a larger size and cuts the margin off"
        )
    elif isinstance(plain.get("size"), Mapping) and "height" in plain["size"]:
        notes.append(
            "images that are not square are cropped; the model's image processor stretches them (data.resize=stretch)"
        )
    return notes


def _processor(files: HubFiles) -> dict[str, Any] | None:
    """Return the settings of a model's image processor."""
    found = next((read for file in PROCESSORS if (read := files.read(file)) is not None), None)
    inside = None if found is None else found.get("image_processor")
    return inside if isinstance(inside, dict) else found


def _size(plain: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the height and width of the images that a network gets."""
    key = "crop_size" if plain.get("do_center_crop") and plain.get("crop_size") else "size"
    size = plain.get(key)
    if isinstance(size, Mapping) and {"height", "width"} <= size.keys():
        return int(size["height"]), int(size["width"])
    side = _side(size)
    return None if side is None else (side, side)


def _side(size: Any) -> int | None:
    """Return a side of images, of a processor's setting."""
    if isinstance(size, Mapping):
        size = size.get("shortest_edge", size.get("height"))
    return size if isinstance(size, int) and size > 0 else None
