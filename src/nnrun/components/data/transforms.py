"""What the user's own data set does to its images, as far as it is visible: torchvision's transforms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nnrun.base.errors import ConfigError

# Transforms that scale pixels to 0..1.
_TO_ONE = ("ToTensor", "ConvertImageDtype", "ToDtype")
_PLACES = ("transform", "transforms")
_MAX_DEPTH = 8


def refuse_mean_of_255(dataset: Any, name: str) -> None:
    """Raise ConfigError where images are scaled to 0..1, and then normalized with a mean or deviation of 0..255."""
    is_scaled = False
    for step in _steps(dataset, 0):
        kind = type(step).__name__
        is_scaled |= kind in _TO_ONE and getattr(step, "scale", True) is not False
        if kind == "Normalize" and is_scaled:
            for key in ("mean", "std"):
                values = [float(value) for value in getattr(step, key, ())]
                if values and max(values) > 1:
                    shown = ", ".join(f"{value:g}" for value in values)
                    raise ConfigError(
                        f"data={name}: its transform Normalize has the {key} ({shown}), but ToTensor before it scales "
                        f"pixels to 0..1: divide the {key} by 255"
                    )


def _steps(value: Any, depth: int) -> Iterator[Any]:
    """Yield the transforms of an object, in order."""
    if depth > _MAX_DEPTH:
        return
    for place in _PLACES:
        found = vars(value).get(place) if hasattr(value, "__dict__") else None
        for step in found if isinstance(found, list | tuple) else [] if found is None else [found]:
            yield step
            yield from _steps(step, depth + 1)
