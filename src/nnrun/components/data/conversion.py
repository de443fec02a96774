"""How an image file becomes pixels, apart from channels and size, and the geometry of resizing.

Needs only the standard library. TorchServe's handler contains this file unchanged, like pixels.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# A smaller JPEG is always decoded at its full size.
MIN_DRAFT_PIXELS = 512 * 512
RESIZES = ("crop", "pad", "stretch")
# Pillow's modes for grays of more than 8 bits.
DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")


class Conversion(NamedTuple):
    """How an image file is read; the defaults are those of versions before 0.5.0.

    `white` is the value that becomes 255 in grays of more than 8 bits, 65535 where it is None; floats are read only
    where it is given. `resize` says how an image of another shape is resized: `crop` scales by the shorter side and
    center-crops the longer one, `pad` scales by the longer side and pads with black, `stretch` scales each side.
    `jpeg_draft` decodes a JPEG of more than MIN_DRAFT_PIXELS at 1/2, 1/4 or 1/8 of its size, where that is still as
    large as needed.
    """

    white: float | None = None
    resize: str = "crop"
    jpeg_draft: bool = False

    @classmethod
    def of_texts(cls, texts: Mapping[str, str]) -> Conversion:
        """Return the conversion in the metadata of an artifact; raise ValueError where `white` is not a number."""
        white = texts.get("white")
        return cls(
            None if white is None else float(white),
            texts.get("resize", AS_BEFORE.resize),
            texts.get("jpeg_draft") == "true",
        )

    def texts(self) -> dict[str, str]:
        """Return the inverse of `of_texts`, without defaults."""
        return {
            **({} if self.white is None else {"white": f"{self.white:g}"}),
            **({} if self.resize == AS_BEFORE.resize else {"resize": self.resize}),
            **({"jpeg_draft": "true"} if self.jpeg_draft else {}),
        }


def middle(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the largest centered box in an image of `size` (width, height) with the proportions of `wanted` (height,
    width): left, top, right and bottom. Rounding never puts it outside the image.
    """
    (width, height), (high, wide) = size, wanted
    scale = min(width / wide, height / high)
    left, top = max(0.0, (width - wide * scale) / 2), max(0.0, (height - high * scale) / 2)
    return left, top, min(left + wide * scale, width), min(top + high * scale, height)


def inside(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """Return the size (width, height) of an image of `size` (width, height) when scaled to fit into `wanted` (height,
    width).
    """
    (width, height), (high, wide) = size, wanted
    scale = max(width / wide, height / high)
    return min(wide, max(1, round(width / scale))), min(high, max(1, round(height / scale)))


def draft_size(size: tuple[int, int], wanted: tuple[int, int], resize: str) -> tuple[int, int]:
    """Return the minimum size (width, height) at which to decode an image of `size` (width, height), so that it is not
    enlarged to `wanted` (height, width).
    """
    return inside(size, wanted) if resize == "pad" else (wanted[1], wanted[0])


AS_BEFORE = Conversion()
# The settings of `data` with its values.
HOW_READ = Conversion._fields
