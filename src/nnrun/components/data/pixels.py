"""The pixels of an image file, whatever format and mode it was saved in. Needs torch and Pillow alone.

TorchServe's handler holds this file as it stands, and those that it imports: what is served is read as what was
trained on.
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
# Reading one starts a program of its own (Ghostscript) on what the file says.
REFUSED_FORMATS = ("EPS",)
TRANSPARENT_MODES = ("RGBA", "RGBa", "LA", "La", "PA")
# How an image is turned, by what the tag Orientation of its EXIF says.
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
# Those that lay an image on its side.
SIDEWAYS = (5, 6, 7, 8)
# What Pillow calls a JPEG; one of several pictures, as phones take them, is an MPO.
JPEG_FORMATS = ("JPEG", "MPO")
# What is white in images of 16 and 32 bits, unless something else is said.
WHITE = 65535

Image.init()
FORMATS = [name for name in Image.OPEN if name not in REFUSED_FORMATS]


def read_pixels(
    content: bytes, channels: int, size: tuple[int, int] | None, conversion: Conversion = AS_BEFORE
) -> Tensor:
    """Return the pixels of an image file as uint8 `(C, H, W)`; `channels` is 1 (grey) or 3 (RGB).

    An image of another `size` (height, width) is brought to it as `conversion` says. Raises where it is no image, or
    above 50 megapixels.
    """
    try:
        with open_image(io.BytesIO(content)) as image:
            return pixels_of(image, channels, size, conversion)
    except Exception:  # Pillow fails on odd metadata in every way there is
        bare = without_metadata(content)
        if bare is None:
            raise
    with open_image(io.BytesIO(bare)) as image:
        return pixels_of(image, channels, size, conversion)


def open_image(file: Any) -> Image.Image:
    """Open an image file, its pixels undecoded; raise ValueError where it is too large to be decoded."""
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
    """Return whether an image, not decoded yet, is a JPEG that may be decoded at a part of its size."""
    return image.format in JPEG_FORMATS and image.width * image.height > MIN_DRAFT_PIXELS


def draft(image: Image.Image, size: tuple[int, int] | None, conversion: Conversion) -> tuple[int, int] | None:
    """Have a large JPEG that is not decoded yet decoded at 1/2, 1/4 or 1/8 of its size, where that is enough.

    Return its own size as it is seen (width, height); None where the image is decoded as a whole.
    """
    if not conversion.jpeg_draft or size is None or not is_large_jpeg(image):
        return None
    whole, is_sideways = image.size, orientation_of(image) in SIDEWAYS
    image.draft(None, draft_size(whole, size[::-1] if is_sideways else size, conversion.resize))
    if image.size == whole:
        return None
    return whole[::-1] if is_sideways else whole


def upright(image: Image.Image) -> Image.Image:
    """Return an image decoded, as it is seen: the camera's orientation is applied."""
    # First of all: decoding turns a TIFF by itself, and takes the orientation out of its EXIF.
    decode(image)
    turn = TURNS.get(orientation_of(image))
    return image if turn is None else image.transpose(turn)


def on_white(image: Image.Image, white: float | None) -> Image.Image:
    """Return an upright image with 8 bits, which Pillow converts to grey and to RGB: what is transparent is white."""
    return _in_colour(_of_8_bits(image, white))


def fitted(
    image: Image.Image,
    channels: int,
    size: tuple[int, int] | None,
    resize: str = "crop",
    whole: tuple[int, int] | None = None,
) -> Tensor:
    """Return the pixels of what `on_white` gives, with so many channels, at a size.

    `whole` is the size (width, height) of the image itself, where it was decoded at a part of it.
    """
    pixels = image.convert("L" if channels == 1 else "RGB")
    if size is not None and (pixels.height, pixels.width) != tuple(size):
        pixels = resized(pixels, size, resize, whole or pixels.size)
    values = torch.frombuffer(bytearray(pixels.tobytes()), dtype=torch.uint8)
    return values.view(pixels.height, pixels.width, channels).permute(2, 0, 1).contiguous()


def resized(image: Image.Image, size: tuple[int, int], resize: str, whole: tuple[int, int]) -> Image.Image:
    """Return a grey or RGB image, of the size `whole` (width, height) by itself, at a size (height, width), as `resize`
    says (see Conversion).
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
    """Decode an image, whatever its metadata holds."""
    if image.format == "TIFF":
        # Decoding a TIFF reads its EXIF and XMP, and fails with what is odd there.
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
        # Of a file on the disk Pillow maps the pixels, and takes the size of the turned image for that of the file's.
        image.filename = ""  # type: ignore[attr-defined]
    image.load()


def orientation_of(image: Image.Image) -> int:
    """Return the orientation that an image's EXIF or XMP says, 1 to 8; 1 where it says none, or is not to be read."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
        return int(found) if found in TURNS else 1
    except Exception:  # it may be anything, and is no pixel
        return 1


def _of_8_bits(image: Image.Image, white: float | None) -> Image.Image:
    """Return an image whose values have 8 bits; of deeper greys `white` becomes 255, and so does what is above it."""
    if image.mode not in (*DEEP_MODES, "F"):
        return image
    if image.mode == "F" and white is None:
        raise ValueError("its pixels are floats, of no known range; set data.white, or save it with 8 or 16 bits")
    scale = 255 / (white or WHITE)
    deep = image if image.mode == "F" else image.convert("I")
    if image.mode == "F" and not torch.frombuffer(bytearray(image.tobytes()), dtype=torch.float32).isfinite().all():
        raise ValueError("its pixels are floats, and NaN or infinity among them")
    low, high = cast("tuple[float, float]", deep.getextrema())
    most = max(white or WHITE, WHITE)
    if low < 0 or high > most:
        raise ValueError(f"its pixels are numbers from {low:g} to {high:g}; from 0 to {most:g} are read (data.white)")
    # 257 * 255 is 65535: every value of 8 bits comes out as it went in.
    return deep.point(lambda value: value * scale + 0.5).convert("L")


def peak_of(image: Image.Image) -> int | None:
    """Return the largest value of an image of more than 8 bits; None for others."""
    if image.mode not in DEEP_MODES:
        return None
    decode(image)
    return max(0, cast("tuple[int, int]", image.convert("I").getextrema())[1])


def is_deep_colour(image: Image.Image) -> bool:
    """Return whether an image that is not decoded yet has several channels of 16 bits, of which Pillow keeps 8."""
    return image.mode not in DEEP_MODES and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def holds_several(image: Image.Image) -> bool:
    """Return whether the file of an image that is decoded holds more pictures than that one."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # what is wrong with the others is nobody's concern
        return False


def _in_colour(image: Image.Image) -> Image.Image:
    """Return an image that Pillow converts to grey and to RGB: what is transparent lies on white."""
    if image.mode in TRANSPARENT_MODES or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    if image.mode == "LAB":
        from PIL import ImageCms  # noqa: PLC0415 - hardly any picture needs it

        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB") or image
    return image
