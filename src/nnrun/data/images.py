"""Image files: which there are below a folder, and their pixels, whatever format and mode they were saved in."""

from __future__ import annotations

import functools
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from nnrun.errors import DataError, NnrunError
from nnrun.faults import lacks_package, of_the_machine

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp", ".avif", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".ico", ".tga", ".jp2", ".j2k", ".pcx", ".sgi", ".qoi"),
    )
)
# A PNG of 20 KB can decode to 500 MB.
MAX_PIXELS = 50_000_000
# Reading one starts a program of its own (Ghostscript) on what the file says.
_REFUSED_FORMATS = frozenset(("EPS",))
# What stands for Pillow's mode where a picture is an array of floats.
FLOAT_MODE = "float"
_DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_TRANSPARENT_MODES = ("RGBA", "RGBa", "LA", "La", "PA")
_MAX_16_BITS = 65535


@dataclass(frozen=True)
class Found:
    """The image files below a folder, in a stable order, the files that are none, and how many were hidden."""

    images: tuple[Path, ...]
    others: tuple[Path, ...]
    num_hidden: int


@dataclass(frozen=True)
class ImageKind:
    """What a file's header says: height and width in pixels as the image is seen, Pillow's mode, whether it is grey."""

    height: int
    width: int
    mode: str
    is_grey: bool
    is_float: bool = False


def find_images(folder: Path) -> Found:
    """Return the files below a folder whose suffix is an image's, sorted by folder and name; links are followed.

    What has such a suffix and cannot be read, as a link that leads nowhere, is among them: reading it says so. Each
    folder is entered once, so that links in a circle end. Hidden files and folders (`.name`) are only counted.
    Raises DataError where a folder cannot be read.
    """
    images: list[Path] = []
    others: list[Path] = []
    num_hidden = 0
    entered: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        with _reading(here):
            status = here.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(here) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        below = []
        for entry in listed:
            path = here / entry.name
            if entry.name.startswith("."):
                num_hidden += 1
            elif _is_folder(entry):
                below.append(path)
            else:
                (images if path.suffix.lower() in IMAGE_SUFFIXES else others).append(path)
        waiting += reversed(below)
    return Found(tuple(images), tuple(others), num_hidden)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; a link that leads nowhere, or in a circle, is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def shown(path: Path | str) -> str:
    """Return a path or name in one line that any terminal and any file can take: what else is in it as `\\x..`."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def read_image(path: Path, channels: int, size: tuple[int, int] | None) -> Tensor:
    """Return the pixels of an image file as uint8 `(C, H, W)`; `channels` is 1 (grey) or 3 (RGB).

    Any format and mode that Pillow reads: palettes and CMYK are converted, 16 bits scaled to 8, what is transparent
    lies on white, the camera's orientation is applied, of several frames the first counts. An image of another `size`
    (height, width) is brought to it by its shorter side, its longer side cut at both ends, with antialiased bilinear
    interpolation. Raises DataError that names the file where it is empty, cut off, no image, or above 50 megapixels.
    """
    return decode(path, channels, size)[1]


def decode(path: Path | str, channels: int, size: tuple[int, int] | None) -> tuple[ImageKind, Tensor]:
    """Return what an image file was, and its pixels as `read_image` gives them."""
    path = Path(path)
    with _reading(path), _opened(path) as image:
        return kind_of(image), from_pillow(image, channels, size, shown(path))


def from_pillow(image: Image, channels: int, size: tuple[int, int] | None, name: str) -> Tensor:
    """Return the pixels of an image of Pillow's as `read_image` gives them; `name` is what an error calls it."""
    pixels = _of_8_bits(_oriented(image), name).convert("L" if channels == 1 else "RGB")
    if size is not None and (pixels.height, pixels.width) != tuple(size):
        pixels = _brought_to(pixels, *size)
    values = torch.frombuffer(bytearray(pixels.tobytes()), dtype=torch.uint8)
    return values.view(pixels.height, pixels.width, channels).permute(2, 0, 1).contiguous()


def pillow_image(pixels: Tensor) -> Image:
    """Return pixels, uint8 `(C, H, W)` of one or three channels, as an image of Pillow's."""
    module, _ = _pillow()
    rows = pixels.permute(1, 2, 0).squeeze(2).contiguous().numpy()
    return module.fromarray(rows)


def read_kind(path: Path | str) -> ImageKind:
    """Return what the header of an image file says, its pixels undecoded; raise DataError as `read_image` does."""
    path = Path(path)
    with _reading(path), _opened(path) as image:
        return kind_of(image)


def kind_of(image: Image) -> ImageKind:
    """Return what the header of an image says."""
    height, width = image.height, image.width
    # Orientations from 5 up lie on their side.
    if image.getexif().get(0x0112, 1) >= 5:
        height, width = width, height
    return ImageKind(height, width, image.mode, is_grey(image))


def is_grey(image: Image) -> bool:
    """Return whether an image has one channel of grey, by its mode; a palette is grey if all its colours are."""
    if image.mode in ("P", "PA"):
        colours = image.getpalette("RGB") or []
        return colours[0::3] == colours[1::3] == colours[2::3]
    return image.mode in ("1", "L", "LA", "La", "F", *_DEEP_MODES)


@functools.cache
def _pillow() -> tuple[Any, list[str]]:
    """Return Pillow's module `Image` and the formats that it may read."""
    try:
        from PIL import Image  # noqa: PLC0415 - a run on other data does not pay for it
    except ModuleNotFoundError as error:
        raise lacks_package("reading images", error) from error
    # Of odd metadata and large sizes, a line for each file; what matters raises.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    Image.init()
    return Image, [name for name in Image.OPEN if name not in _REFUSED_FORMATS]


def _opened(path: Path) -> Image:
    """Open an image file, its pixels undecoded; raise DataError where it is none, or too large to be decoded."""
    module, formats = _pillow()
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{shown(path)} is no file")
    if status.st_size == 0:
        raise DataError(f"{shown(path)} is empty: it has 0 bytes")
    try:
        image = module.open(path, formats=formats)
    except module.UnidentifiedImageError as error:
        with path.open("rb") as file:
            start = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        is_html = start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))
        what = "it holds HTML, as a failed download leaves" if is_html else "Pillow knows no such format"
        raise DataError(f"{shown(path)} is no image: {what}") from error
    except module.DecompressionBombError as error:
        raise _too_large(path, str(error)) from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise _too_large(path, f"it says that it has {image.width:,} x {image.height:,} pixels")
    return image


def _too_large(path: Path, what: str) -> DataError:
    """Return the error for an image that would fill the memory."""
    return DataError(f"{shown(path)} is not decoded: {what}, and at most {MAX_PIXELS:,} are; make it smaller")


def _oriented(image: Image) -> Image:
    """Return an image, decoded, the way up that its camera says."""
    from PIL import ImageOps  # noqa: PLC0415 - as above

    image.load()
    return ImageOps.exif_transpose(image) or image


def _of_8_bits(image: Image, name: str) -> Image:
    """Return an image whose values have 8 bits and no transparency."""
    if image.mode in _DEEP_MODES:
        low, high = cast(tuple[int, int], image.convert("I").getextrema())
        if low < 0 or high > _MAX_16_BITS:
            raise DataError(f"{name}: its pixels are numbers from {low} to {high}; 8 and 16 bits are read")
        # 257 * 255 is 65535: every value of 8 bits comes out as it went in.
        return image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if image.mode == "F":
        raise DataError(f"{name}: its pixels are floats, of no known range; save it with 8 or 16 bits")
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        from PIL import Image as module  # noqa: PLC0415 - as above

        over = image.convert("RGBA")
        return module.alpha_composite(module.new("RGBA", over.size, "white"), over)
    return image


def _brought_to(image: Image, height: int, width: int) -> Image:
    """Return the middle of an image, as much of it as has the right proportions, at a size."""
    from PIL.Image import Resampling  # noqa: PLC0415 - as above

    scale = min(image.width / width, image.height / height)
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    # Pillow's bilinear filter grows with the scale: it is antialiased.
    return image.resize(
        (width, height), Resampling.BILINEAR, box=(left, top, left + width * scale, top + height * scale)
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file or folder is read into a DataError that names it.

    What the machine lacks is no fault of the file, and passes.
    """
    try:
        yield
    except NnrunError:
        raise
    except Exception as error:  # Pillow fails on damaged bytes in every way there is
        if of_the_machine(error):
            raise
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{shown(path)} cannot be read: {error.strerror}") from error
        reason = str(error) or type(error).__name__
        raise DataError(f"{shown(path)} is damaged, or cut off: {reason}; restore it, or delete it") from error
