"""An image file without metadata: for files with broken metadata and intact pixels."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

# Lengths of a PNG's transparency chunk, by color type: gray, RGB, palette.
TRNS_BYTES = {0: (2,), 2: (6,), 3: range(1, 257)}
# The bytes that end a JPEG, and possible missing data before them.
JPEG_END = b"\xff\xd9"
FILLINGS = (b"\x00" * 64, b"\x55" * 64, b"\xaa" * 64)


def without_metadata(content: bytes) -> bytes | None:
    """Return an image file with only what its pixels need; None for other formats.

    Programs break profiles, comments and texts in many ways; none of these affects the pixels.
    """
    try:
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return _bare_png(content)
        if content.startswith(b"\xff\xd8\xff"):
            return _bare_jpeg(content)
        if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
            return _bare_webp(content)
    except (struct.error, IndexError, ValueError, OSError):  # its segments cannot be parsed
        pass
    return None


def _bare_png(content: bytes) -> bytes:
    """Return a PNG's critical chunks, its transparency and its EXIF, as far as these are intact."""
    kept = [content[:8]]
    place = 8
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        chunk = content[place : place + 12 + length]
        is_whole = len(chunk) == 12 + length and zlib.crc32(chunk[4:-4]) == struct.unpack(">I", chunk[-4:])[0]
        # The names of critical chunks begin with an upper-case letter.
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
    """Return a JPEG without comments and application segments, except for EXIF and the color space."""
    kept = [content[:2]]
    place = 2
    while True:
        # Bytes before the next segment are skipped, as decoders do.
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
    """Return a JPEG whose end marker is missing with one, if all of its pixels are there.

    They are, if they decode the same whatever follows. A progressive JPEG may lack a whole scan, so it is not repaired.
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
    """Return a WebP's pixels, and its EXIF, if it is intact."""
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
