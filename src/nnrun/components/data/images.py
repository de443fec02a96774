"""Image files: the kind and the pixels of each, in any format and mode; an error names the file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.components.data.conversion import AS_BEFORE, DEEP_MODES, Conversion
from nnrun.components.data.opened_images import Source, pixels_module, read_opened
from nnrun.components.data.originals import of_jpeg, of_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

# The same as in pixels.py, which needs Pillow and is imported only when an image is read.
MAX_PIXELS = 50_000_000
WHITE = 65535
# Used in place of Pillow's mode for an array of floats.
FLOAT_MODE = "float"
# The largest values at the usual bit depths of cameras, scanners and X-ray detectors.
DEPTHS = (255, 1023, 4095, 16383, WHITE)


@dataclass(frozen=True)
class ImageKind:
    """The kind of an image: height and width in pixels, upright; Pillow's mode; whether it is gray.

    `several` says whether the file has more images than the one that is used, `is_deep_colour` whether it has several
    channels of 16 bits, of which Pillow keeps the upper 8, `is_large_jpeg` whether it may be decoded at reduced size.
    For grays of more than 8 bits, `peak` is the largest value and `depth` the largest one at that bit depth; both are
    None for others.
    """

    height: int
    width: int
    mode: str
    is_grey: bool
    is_float: bool = False
    several: bool = False
    is_deep_colour: bool = False
    depth: int | None = None
    is_large_jpeg: bool = False
    # Not compared: images are counted by kind, and nearly every peak is different.
    peak: int | None = field(default=None, compare=False)


class Picture(NamedTuple):
    """An image: its kind, its pixels in the form that is wanted, and a hash of the original, which no form changes."""

    kind: ImageKind
    pixels: Tensor
    original: bytes


def read_image(path: Path, channels: int, size: tuple[int, int] | None, conversion: Conversion = AS_BEFORE) -> Tensor:
    """Return the pixels of an image file as uint8 `(C, H, W)`; `channels` is 1 (gray) or 3 (RGB).

    Any format and mode that Pillow reads: palettes and CMYK are converted, 16 bits scaled to 8, transparent pixels
    composited on white, the camera's orientation applied; of several frames the first is used. An image of another
    `size` (height, width) is resized as `conversion` says, with antialiased bilinear interpolation. Raises DataError
    that names the file where it is empty, truncated, not an image, or above 50 megapixels; broken metadata is ignored.
    """
    return decode(path, channels, size, conversion)[1]


def decode(
    path: Source, channels: int, size: tuple[int, int] | None, conversion: Conversion = AS_BEFORE
) -> tuple[ImageKind, Tensor]:
    """Return the kind of an image file, and its pixels as `read_image` returns them."""
    picture = read_opened(path, lambda image: _pictured(image, channels, size, conversion))
    return picture.kind, picture.pixels


def decode_sample(
    path: Source, channels: int, size: tuple[int, int] | None, conversion: Conversion = AS_BEFORE
) -> Picture:
    """Do the same for a data set, with a hash of the original."""
    return read_opened(path, lambda image: _pictured(image, channels, size, conversion, identifies=True))


def read_kind(path: Source) -> ImageKind:
    """Return the kind of an image file, from its header if possible; raise DataError as `read_image` does."""
    return read_opened(path, kind_of)


def from_pillow(
    image: Image, channels: int, size: tuple[int, int] | None, conversion: Conversion, name: str
) -> Picture:
    """Return what `decode_sample` returns, for a PIL image, which errors call `name`.

    It may be decoded already and belongs to the caller, so it is used at its full size.
    """
    try:
        return _pictured(image, channels, size, conversion._replace(jpeg_draft=False), identifies=True)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def _pictured(
    image: Image, channels: int, size: tuple[int, int] | None, conversion: Conversion, *, identifies: bool = False
) -> Picture:
    """Return the kind of an image, its pixels, and, with `identifies`, a hash of the original."""
    pixels = pixels_module()
    is_deep_colour, is_large = pixels.is_deep_colour(image), pixels.is_large_jpeg(image)
    # The hash of a JPEG that may be decoded at reduced size must be the same at every size.
    by_content = identifies and conversion.jpeg_draft and is_large
    original = of_jpeg(image) if by_content else b""
    whole = pixels.draft(image, size, conversion)
    upright = pixels.upright(image)
    shown_on_white = pixels.on_white(upright, conversion.white)
    kind = replace(kind_of(image, several=pixels.holds_several(image)), is_large_jpeg=is_large)
    if whole is not None:
        kind = replace(kind, height=whole[1], width=whole[0])
    if is_deep_colour:
        highest = int(pixels.fitted(shown_on_white, 3, None).max())
        kind = replace(kind, mode=f"{kind.mode};16", is_deep_colour=True, peak=highest * WHITE // 255)
    values = pixels.fitted(shown_on_white, channels, size, conversion.resize, whole)
    if identifies and not by_content:
        original = of_pixels(upright if upright.mode in (*DEEP_MODES, "F") else shown_on_white, values)
    return Picture(kind, values, original)


def pillow_image(pixels: Tensor) -> Image:
    """Return pixels, uint8 `(C, H, W)` of one or three channels, as a PIL image."""
    rows = pixels.permute(1, 2, 0).squeeze(2).contiguous().numpy()
    return cast("Image", pixels_module().Image.fromarray(rows))


def kind_of(image: Image, *, several: bool = False) -> ImageKind:
    """Return the kind of an image; one of more than 8 bits is decoded for it."""
    height, width = image.height, image.width
    # For a TIFF, Pillow already returns the size of the upright image.
    if image.format != "TIFF" and pixels_module().orientation_of(image) in pixels_module().SIDEWAYS:
        height, width = width, height
    peak = pixels_module().peak_of(image)
    depth = None if peak is None else depth_of(peak)
    return ImageKind(height, width, image.mode, is_grey(image), several=several, depth=depth, peak=peak)


def depth_of(peak: int) -> int:
    """Return the largest value at the smallest bit depth that `peak` fits."""
    return next((depth for depth in DEPTHS if peak <= depth), peak)


def is_grey(image: Image) -> bool:
    """Return whether an image is gray, by its mode; a palette is gray if all its colors are."""
    if image.mode in ("P", "PA"):
        colours = image.getpalette("RGB") or []
        return colours[0::3] == colours[1::3] == colours[2::3]
    return image.mode in ("1", "L", "LA", "La", "F", *DEEP_MODES)
