"""How an image file becomes pixels, besides their channels and size, and where in these the image comes to lie.

Needs the standard library alone. TorchServe's handler holds this file as it stands, as it does pixels.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# A smaller JPEG is always decoded at its full size.
MIN_DRAFT_PIXELS = 512 * 512
RESIZES = ("crop", "pad", "stretch")
# What Pillow calls greys of more than 8 bits.
DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")


class Conversion(NamedTuple):
    """How an image file is read; what is left out is how versions before 0.5.0 read it.

    `white` is what becomes 255 of greys of more than 8 bits, 65535 where it is None; floats are read only where it is
    given. `resize` says how an image of another shape is brought to the size that is wanted: `crop` scales its shorter
    side and cuts its longer one at both ends, `pad` scales its longer side and fills the rest with black, `stretch`
    scales each. `jpeg_draft` decodes a JPEG of more than MIN_DRAFT_PIXELS at 1/2, 1/4 or 1/8 of its size, where that
    still is as large as it is wanted.
    """

    white: float | None = None
    resize: str = "crop"
    jpeg_draft: bool = False

    @classmethod
    def of_texts(cls, texts: Mapping[str, str]) -> Conversion:
        """Return what the metadata of an artifact says, by setting; raise ValueError where `white` is no number."""
        white = texts.get("white")
        return cls(
            None if white is None else float(white),
            texts.get("resize", AS_BEFORE.resize),
            texts.get("jpeg_draft") == "true",
        )

    def texts(self) -> dict[str, str]:
        """Return it as `of_texts` takes it: what is as before is left out."""
        return {
            **({} if self.white is None else {"white": f"{self.white:g}"}),
            **({} if self.resize == AS_BEFORE.resize else {"resize": self.resize}),
            **({"jpeg_draft": "true"} if self.jpeg_draft else {}),
        }


def middle(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the middle of an image of a `size` (width, height), as large as it can be, in the proportions of `wanted`
    (height, width): left, top, right and bottom. No sum of floats leads out of the image.
    """
    (width, height), (high, wide) = size, wanted
    scale = min(width / wide, height / high)
    left, top = max(0.0, (width - wide * scale) / 2), max(0.0, (height - high * scale) / 2)
    return left, top, min(left + wide * scale, width), min(top + high * scale, height)


def inside(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """Return the size (width, height) to which an image of a `size` (width, height) is scaled to lie as a whole in
    `wanted` (height, width).
    """
    (width, height), (high, wide) = size, wanted
    scale = max(width / wide, height / high)
    return min(wide, max(1, round(width / scale))), min(high, max(1, round(height / scale)))


def draft_size(size: tuple[int, int], wanted: tuple[int, int], resize: str) -> tuple[int, int]:
    """Return how large (width, height) an image of a `size` (width, height) must at least be decoded, to be brought to
    `wanted` (height, width) without being enlarged.
    """
    return inside(size, wanted) if resize == "pad" else (wanted[1], wanted[0])


AS_BEFORE = Conversion()
# The settings of `data` that say it.
HOW_READ = Conversion._fields
