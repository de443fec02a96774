"""An image file without what its pixels do not need: for files whose metadata is odd, and whose pixels are whole."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

# How many bytes say what is transparent in a PNG, by its type of colour: grey, RGB, a palette.
TRNS_BYTES = {0: (2,), 2: (6,), 3: range(1, 257)}
# The bytes with which a JPEG ends, and what may stand before them where they are missing.
JPEG_END = b"\xff\xd9"
FILLINGS = (b"\x00" * 64, b"\x55" * 64, b"\xaa" * 64)


def without_metadata(content: bytes) -> bytes | None:
    """Return an image file with what its pixels need and nothing else; None for a format whose parts are not known.

    Each copyist has its own way to break a profile, a comment or a text; none of them is a pixel.
    """
    try:
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return _bare_png(content)
        if content.startswith(b"\xff\xd8\xff"):
            return _bare_jpeg(content)
        if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
            return _bare_webp(content)
    except (struct.error, IndexError, ValueError, OSError):  # its parts are not to be told apart
        pass
    return None


def _bare_png(content: bytes) -> bytes:
    """Return a PNG's critical chunks, its transparency and its EXIF, as far as these are whole."""
    kept = [content[:8]]
    place = 8
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        chunk = content[place : place + 12 + length]
        is_whole = len(chunk) == 12 + length and zlib.crc32(chunk[4:-4]) == struct.unpack(">I", chunk[-4:])[0]
        # An upper-case letter begins the name of what no decoder can do without.
        is_transparency = kind == b"tRNS" and length in TRNS_BYTES.get(content[25], ())
        if kind[:1].isupper() or (is_whole and (kind == b"eXIf" or is_transparency)):
            kept.append(chunk)
        place += len(chunk)
        if kind == b"IEND":
            break
    else:
        kept.append(struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND")))
    return b"".join(kept)


def _bare_jpeg(content: bytes) -> bytes:
    """Return a JPEG without comments and the segments of applications, but for EXIF and what says its colours."""
    kept = [content[:2]]
    place = 2
    while True:
        # Whatever stands before the next segment is skipped, as by every decoder.
        place = content.index(0xFF, place)
        marker = content[place + 1]
        if marker in (0x00, 0xFF):
            place += 1
            continue
        (length,) = struct.unpack_from(">H", content, place + 2)
        segment = content[place : place + 2 + length]
        is_colour = (marker, segment[4:9]) in ((0xE0, b"JFIF\0"), (0xEE, b"Adobe")) and length >= 14
        is_exif = marker == 0xE1 and segment[4:10] == b"Exif\0\0"
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or is_colour or is_exif:
            kept.append(segment)
        place += 2 + length
        if marker == 0xDA:  # the pixels begin
            break
    return _with_end(b"".join(kept), content[place:], is_plain=b"\xff\xc0" in [part[:2] for part in kept])


def _with_end(head: bytes, pixels: bytes, *, is_plain: bool) -> bytes:
    """Return a JPEG whose end is missing with one, if all of its pixels are there.

    That is so where they are the same whatever would have followed. A JPEG of several passes may lack a whole one.
    """
    if JPEG_END in pixels or not is_plain:
        return head + pixels
    pixels = pixels.removesuffix(b"\xff")
    found = set()
    for filling in FILLINGS:
        with Image.open(io.BytesIO(head + pixels + filling + JPEG_END), formats=["JPEG"]) as image:
            found.add(image.tobytes())
    return head + pixels + JPEG_END if len(found) == 1 else head + pixels


def _bare_webp(content: bytes) -> bytes:
    """Return a WebP's pixels, and its EXIF, if it is whole."""
    kept: list[bytes] = []
    place = 12
    while place + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, place)
        chunk = content[place : place + 8 + length + length % 2]
        is_whole = len(chunk) == 8 + length + length % 2
        if kind not in (b"ICCP", b"XMP ", b"EXIF") or (kind == b"EXIF" and is_whole):
            kept.append(chunk)
        place += len(chunk)
    names = [chunk[:4] for chunk in kept]
    if b"VP8X" in names:
        # Its first byte says which chunks there are: 0x20 a profile, 0x08 EXIF, 0x04 XMP.
        index = names.index(b"VP8X")
        flags = kept[index][8] & ~0x2C | (0x08 if b"EXIF" in names else 0)
        kept[index] = kept[index][:8] + bytes([flags]) + kept[index][9:]
    body = b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
