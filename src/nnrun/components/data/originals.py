"""What stands for a picture at whatever size it is wanted: by this it is known in any data."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor

from nnrun.components.data.conversion import DEEP_MODES
from nnrun.core.sample_hashes import identity, whole

if TYPE_CHECKING:
    from PIL.Image import Image

# Modes in which the same values are saved that others have too.
_SAVED_AS = {"1": "L", "P": "RGB", "RGBA": "RGB", "RGBX": "RGB"} | dict.fromkeys(DEEP_MODES, "I")
_JPEG_START, _JPEG_END, _SCAN = 0xD8, b"\xff\xd9", 0xDA


def of_pixels(image: Image, values: Tensor) -> bytes:
    """Return what stands for an upright image at its own size, in whatever format and mode it was saved.

    That is `identity` of its values; a grey picture has one channel. `values` are its pixels as they are wanted.
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
    """Return what stands for a JPEG that Pillow has opened and not decoded: a hash of its compressed pixels."""
    file = cast("Any", image).fp
    place = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(place)
    return whole(compressed_pixels(content))


def compressed_pixels(content: bytes) -> bytes:
    """Return a JPEG without comments and the segments of applications, EXIF among them, and what follows its end.

    So it is the same picture after its orientation, its date or its thumbnail has changed. Where its segments are not
    to be told apart, that is all of it.
    """
    kept = []
    place = 2
    try:
        while True:
            # Whatever stands before the next segment is skipped, as by every decoder.
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
    # Where the pixels lie, 0xFF is followed by what is no marker; in between, a table may hold anything.
    end = content.find(_JPEG_END, place)
    return b"".join(kept) + content[place : end if end >= 0 else len(content)]
