"""Hashes of original images, the same at any size, by which an image is recognized in any data."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor

from nnrun.components.data.conversion import DEEP_MODES
from nnrun.core.sample_hashes import identity, whole

if TYPE_CHECKING:
    from PIL.Image import Image

# Modes whose values another mode can store too.
_SAVED_AS = {"1": "L", "P": "RGB", "RGBA": "RGB", "RGBX": "RGB"} | dict.fromkeys(DEEP_MODES, "I")
_JPEG_START, _JPEG_END, _SCAN = 0xD8, b"\xff\xd9", 0xDA


def of_pixels(image: Image, values: Tensor) -> bytes:
    """Return the hash of an upright image at its original size, the same for any format and mode that it was saved in.

    This is `identity` of its values; a gray image has one channel. `values` are its pixels in the form that is wanted.
    """
    if image.mode == "L" and values.shape == (1, image.height, image.width):
        return identity([values.numpy().reshape(-1)])
    if image.mode in _SAVED_AS:
        image = image.convert(_SAVED_AS[image.mode])
    if image.mode != "RGB":
        channels = image.split() if len(image.getbands()) > 1 else (image,)
        return identity([channel.tobytes() for channel in channels])
    red, green, blue = (image.tobytes("raw", channel) for channel in "RGB")
    return identity([red] if red == green == blue else [red, green, blue])


def of_jpeg(image: Image) -> bytes:
    """Return the hash of a JPEG that Pillow has opened and not decoded: of its compressed pixels."""
    file = cast("Any", image).fp
    place = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(place)
    return whole(compressed_pixels(content))


def compressed_pixels(content: bytes) -> bytes:
    """Return a JPEG without its comments, application segments (such as EXIF) and anything after its end.

    So it remains the same after its orientation, date or thumbnail has changed. If its segments cannot be parsed, this
    is the whole file.
    """
    kept = []
    place = 2
    try:
        while True:
            # Bytes before the next segment are skipped, as decoders do.
            place = content.index(0xFF, place)
            marker = content[place + 1]
            if marker in (0x00, 0xFF, _JPEG_START):
                place += 1
                continue
            (length,) = struct.unpack_from(">H", content, place + 2)
            if not (0xE0 <= marker <= 0xEF or marker == 0xFE):
                kept.append(content[place : place + 2 + length])
            place += 2 + length
            if marker == _SCAN:
                break
    except (ValueError, IndexError, struct.error):
        return content
    # In the pixel data, 0xFF is never followed by an end marker; but tables between scans may contain anything.
    end = content.find(_JPEG_END, place)
    return b"".join(kept) + content[place : end if end >= 0 else len(content)]
