"""The pixels of an image file, in any format and mode. Needs only torch and Pillow.

TorchServe's handler contains this file and those that it imports, unchanged: requests are read as the training images
were.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor

from nnrun.components.data.bare import without_metadata
from nnrun.components.data.conversion import (
    AS_BEFORE,
    DEEP_MODES,
    MIN_DRAFT_PIXELS,
    Conversion,
    draft_size,
    inside,
    middle,
)
from nnrun.components.data.heic import with_heic

# A PNG of 20 KB can decode to 500 MB.
MAX_PIXELS = 50_000_000
# Reading one runs the program that the file contains, in Ghostscript.
REFUSED_FORMATS = ("EPS",)
TRANSPARENT_MODES = ("RGBA", "RGBa", "LA", "La", "PA")
# How to turn an image, by the EXIF tag Orientation.
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Orientations that swap height and width.
SIDEWAYS = (5, 6, 7, 8)
# Pillow's names for a JPEG; one with several images, as phones write them, is an MPO.
JPEG_FORMATS = ("JPEG", "MPO")
# White in images of 16 and 32 bits, unless set.
WHITE = 65535

Image.init()
FORMATS = [name for name in Image.OPEN if name not in REFUSED_FORMATS]


def read_pixels(
    content: bytes, channels: int, size: tuple[int, int] | None, conversion: Conversion = AS_BEFORE
) -> Tensor:
    """Return the pixels of an image file as uint8 `(C, H, W)`; `channels` is 1 (gray) or 3 (RGB).

    An image of another `size` (height, width) is resized as `conversion` says. Raises an exception where it is not an
    image, or above 50 megapixels.
    """
    try:
        with open_image(io.BytesIO(content)) as image:
            return pixels_of(image, channels, size, conversion)
    except Exception:  # Pillow raises anything on broken metadata
        bare = without_metadata(content)
        if bare is None:
            raise
    with open_image(io.BytesIO(bare)) as image:
        return pixels_of(image, channels, size, conversion)


def open_image(file: Any) -> Image.Image:
    """Open an image file without decoding its pixels; raise ValueError where it is too large to be decoded."""
    image = Image.open(file, formats=[*FORMATS, "HEIF"] if with_heic(file) else FORMATS)
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise ValueError(f"it has {image.width:,} x {image.height:,} pixels; at most {MAX_PIXELS:,} are decoded")
    return image


def pixels_of(image: Image.Image, channels: int, size: tuple[int, int] | None, conversion: Conversion) -> Tensor:
    """Return the pixels of an image as `read_pixels` does."""
    whole = draft(image, size, conversion)
    return fitted(on_white(upright(image), conversion.white), channels, size, conversion.resize, whole)


def is_large_jpeg(image: Image.Image) -> bool:
    """Return whether an image, not decoded yet, is a JPEG that may be decoded at reduced size."""
    return image.format in JPEG_FORMATS and image.width * image.height > MIN_DRAFT_PIXELS


def draft(image: Image.Image, size: tuple[int, int] | None, conversion: Conversion) -> tuple[int, int] | None:
    """Set a large JPEG that is not decoded yet to be decoded at 1/2, 1/4 or 1/8 of its size, where that is enough.

    Return its full size, upright (width, height); None where the image will be decoded at full size.
    """
    if not conversion.jpeg_draft or size is None or not is_large_jpeg(image):
        return None
    whole, is_sideways = image.size, orientation_of(image) in SIDEWAYS
    image.draft(None, draft_size(whole, size[::-1] if is_sideways else size, conversion.resize))
    if image.size == whole:
        return None
    return whole[::-1] if is_sideways else whole


def upright(image: Image.Image) -> Image.Image:
    """Return the decoded image with the camera's orientation applied."""
    # Before the orientation is read: decoding turns a TIFF and removes the tag from its EXIF.
    decode(image)
    turn = TURNS.get(orientation_of(image))
    return image if turn is None else image.transpose(turn)


def on_white(image: Image.Image, white: float | None) -> Image.Image:
    """Return an upright image with 8 bits, ready for conversion to gray or RGB; transparent pixels become white."""
    return _in_colour(_of_8_bits(image, white))


def fitted(
    image: Image.Image,
    channels: int,
    size: tuple[int, int] | None,
    resize: str = "crop",
    whole: tuple[int, int] | None = None,
) -> Tensor:
    """Return the pixels of an image from `on_white` with a number of channels, at a size.

    `whole` is the full size (width, height) of the image, where it was decoded at reduced size.
    """
    pixels = image.convert("L" if channels == 1 else "RGB")
    if size is not None and (pixels.height, pixels.width) != tuple(size):
        pixels = resized(pixels, size, resize, whole or pixels.size)
    values = torch.frombuffer(bytearray(pixels.tobytes()), dtype=torch.uint8)
    return values.view(pixels.height, pixels.width, channels).permute(2, 0, 1).contiguous()


def resized(image: Image.Image, size: tuple[int, int], resize: str, whole: tuple[int, int]) -> Image.Image:
    """Return a gray or RGB image, whose full size is `whole` (width, height), resized to a size (height, width) as
    `resize` says (see Conversion).
    """
    high, wide = size
    if resize == "crop":
        across, down = image.width / whole[0], image.height / whole[1]
        left, top, right, bottom = middle(whole, size)
        box = left * across, top * down, min(right * across, image.width), min(bottom * down, image.height)
        return image.resize((wide, high), Image.Resampling.BILINEAR, box=box)
    if resize == "stretch":
        return image.resize((wide, high), Image.Resampling.BILINEAR)
    drawn, padded = inside(whole, size), Image.new(image.mode, (wide, high))
    inner = image.resize(drawn, Image.Resampling.BILINEAR)
    padded.paste(inner, ((wide - drawn[0]) // 2, (high - drawn[1]) // 2))
    return padded


def decode(image: Image.Image) -> None:
    """Decode an image, whatever is in its metadata."""
    if image.format == "TIFF":
        # Decoding a TIFF reads its EXIF and XMP, and fails if they are broken.
        with contextlib.suppress(Exception):
            if not isinstance(image.info.get("xmp", b""), bytes):
                del image.info["xmp"]
            exif = image.getexif()
            for directory in [tag for tag in (0x8769, 0x8825, 0xA005) if tag in exif]:
                try:
                    exif.get_ifd(directory)
                except Exception:  # whatever is in it
                    del exif[directory]
            if exif.get(ORIENTATION) not in TURNS:
                exif.pop(ORIENTATION, None)
        # With a file name, Pillow would map the pixels, and mistake the size of the upright image for that of the file.
        image.filename = ""  # type: ignore[attr-defined]
    image.load()


def orientation_of(image: Image.Image) -> int:
    """Return the orientation in an image's EXIF or XMP, 1 to 8; 1 where there is none or it is unreadable."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
        return int(found) if found in TURNS else 1
    except Exception:  # metadata may be anything, and does not matter
        return 1


def _of_8_bits(image: Image.Image, white: float | None) -> Image.Image:
    """Return an image with 8 bits; in deeper grays, `white` and larger values become 255."""
    if image.mode not in (*DEEP_MODES, "F"):
        return image
    if image.mode == "F" and white is None:
        raise ValueError("its pixels are floats of unknown range; set data.white, or save it with 8 or 16 bits")
    scale = 255 / (white or WHITE)
    deep = image if image.mode == "F" else image.convert("I")
    if image.mode == "F" and not torch.frombuffer(bytearray(image.tobytes()), dtype=torch.float32).isfinite().all():
        raise ValueError("its pixels are floats and include NaN or infinity")
    low, high = cast("tuple[float, float]", deep.getextrema())
    most = max(white or WHITE, WHITE)
    if low < 0 or high > most:
        raise ValueError(f"its pixels range from {low:g} to {high:g}; the allowed range is 0 to {most:g} (data.white)")
    # 257 * 255 is 65535: 8-bit values stored in 16 bits come out unchanged.
    return deep.point(lambda value: value * scale + 0.5).convert("L")


def peak_of(image: Image.Image) -> int | None:
    """Return the largest value of an image of more than 8 bits; None for others."""
    if image.mode not in DEEP_MODES:
        return None
    decode(image)
    return max(0, cast("tuple[int, int]", image.convert("I").getextrema())[1])


def is_deep_colour(image: Image.Image) -> bool:
    """Return whether an image, not decoded yet, has several channels of 16 bits, of which Pillow keeps 8."""
    return image.mode not in DEEP_MODES and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def holds_several(image: Image.Image) -> bool:
    """Return whether the file of a decoded image has more images."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # damage to the others does not matter
        return False


def _in_colour(image: Image.Image) -> Image.Image:
    """Return an image that Pillow can convert to gray and RGB; transparent pixels are composited on white."""
    if image.mode in TRANSPARENT_MODES or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    if image.mode == "LAB":
        from PIL import ImageCms  # noqa: PLC0415 - few images need it

        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB") or image
    return image
