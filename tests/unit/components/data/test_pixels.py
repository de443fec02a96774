"""Whole pictures are read whole, whatever their size and whatever stands beside their pixels."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nnrun.base.errors import DataError, ResourceError
from nnrun.components.data import finding
from nnrun.components.data.bare import without_metadata
from nnrun.components.data.images import decode, read_image, read_kind
from nnrun.components.data.pixels import middle, read_pixels

SIZES = (1, 8, 16, 28, 32, 50, 64, 96, 100, 112, 150, 180, 200, 224, 240, 256, 299, 300, 384, 448)
NOISE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
PICTURE = Image.fromarray(NOISE)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_the_box_stays_within_every_picture_and_fills_it_in_one_direction() -> None:
    """Every size from 1 to 1,200 beside several others, at twenty sizes. Without the bounds 2 to 7 % of them fail."""
    num_outside = 0
    for wanted in SIZES:
        for width in range(1, 1201):
            for height in (width, width + 1, 600, -(-width * 4 // 3), max(1, width // 3), 1):
                left, top, right, bottom = middle((width, height), (wanted, wanted))
                assert 0 <= left < right <= width
                assert 0 <= top < bottom <= height
                assert abs(min(width - (right - left), height - (bottom - top))) < 1e-9
                scale = min(width / wanted, height / wanted)
                num_outside += (width - wanted * scale) / 2 < 0 or (height - wanted * scale) / 2 < 0
    assert num_outside > 100


@pytest.mark.parametrize(("size", "wanted"), [((450, 600), 224), ((600, 450), 224), ((1, 900), 300), ((901, 7), 28)])
def test_sizes_that_were_called_damaged_are_read(tmp_path: Path, size: tuple[int, int], wanted: int) -> None:
    path = tmp_path / "a.png"
    Image.new("L", size, 77).save(path)
    for pixels in (read_image(path, 1, (wanted, wanted)), read_pixels(path.read_bytes(), 1, (wanted, wanted))):
        assert pixels.shape == (1, wanted, wanted)
        assert bool((pixels == 77).all())


def chunk(kind: bytes, content: bytes, *, broken: bool = False) -> bytes:
    crc = zlib.crc32(kind + content) ^ broken
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


PNG, JPEG = encoded(PICTURE, "PNG"), encoded(PICTURE, "JPEG")
WEBP = encoded(PICTURE, "WEBP", lossless=True, exif=b"Exif\0\0II*\0", xmp=b"<x/>")
TIFF = encoded(PICTURE, "TIFF")
IDAT = PNG.index(b"IDAT") - 4


def in_png(*chunks: bytes) -> bytes:
    return PNG[:IDAT] + b"".join(chunks) + PNG[IDAT:]


def behind_png(*chunks: bytes) -> bytes:
    return PNG[:-12] + b"".join(chunks) + PNG[-12:]


def in_jpeg(*segments: tuple[int, bytes]) -> bytes:
    parts = [bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content for marker, content in segments]
    return JPEG[:2] + b"".join(parts) + JPEG[2:]


def exif(kind: int, count: int, value: bytes = b"\x06\0\0\0") -> bytes:
    """An EXIF whose one tag, the orientation, has a type and a number of values."""
    return b"II*\0\x08\0\0\0" + struct.pack("<HHHI", 1, 0x0112, kind, count) + value + bytes(4)


def in_tiff(tag: int, kind: int, count: int) -> bytes:
    """The TIFF with one more entry, whose value is 6."""
    (offset,) = struct.unpack_from("<I", TIFF, 4)
    (number,) = struct.unpack_from("<H", TIFF, offset)
    entries = [TIFF[offset + 2 + 12 * i : offset + 14 + 12 * i] for i in range(number)]
    entries = sorted([*entries, struct.pack("<HHII", tag, kind, count, 6)], key=lambda e: struct.unpack_from("<H", e))
    padded = TIFF + bytes(len(TIFF) % 2)
    listing = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return padded[:4] + struct.pack("<I", len(padded)) + padded[8:] + listing


LONG_TEXT = zlib.compress(b"a" * 3_000_000)
ODD = {
    "EXIF in text": in_jpeg((0xE1, b"Exif\0\0" + exif(2, 2, b"6\0\0\0"))),
    "EXIF in bytes": in_jpeg((0xE1, b"Exif\0\0" + exif(7, 4))),
    "EXIF cut": in_jpeg((0xE1, b"Exif\0\0" + exif(3, 1)[:9])),
    "EXIF twice": in_jpeg(*[(0xE1, b"Exif\0\0" + exif(3, 1, b"\1\0\0\0"))] * 2),
    "EXIF of noise": in_jpeg((0xE1, b"Exif\0\0" + NOISE.tobytes()[:200])),
    "EXIF that leads out of the file": in_jpeg((0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f")),
    "a broken profile in a JPEG": in_jpeg((0xE2, b"ICC_PROFILE\0")),
    "a short JFIF": in_jpeg((0xE0, b"JFIF")),
    "a short Adobe": in_jpeg((0xEE, b"Adobe")),
    "Photoshop's resources cut": in_jpeg((0xED, b"Photoshop 3.0\x008BIM\x03\xed")),
    "XMP that is no text": in_jpeg((0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe\0 tiff:Orientation")),
    "an index of pictures cut": in_jpeg((0xE2, b"MPF\0II*\0\x08\0\0\0")),
    "a JPEG without its end": JPEG[:-2],
    "a JPEG with half its end": JPEG[:-1],
    "EXIF in a PNG cut": in_png(chunk(b"eXIf", exif(3, 1)[:6])),
    "EXIF in a PNG in text": in_png(chunk(b"eXIf", exif(2, 2, b"6\0\0\0"))),
    "a text with a broken checksum": in_png(chunk(b"tEXt", b"a\0b", broken=True)),
    "a text behind with a broken checksum": behind_png(chunk(b"tEXt", b"a\0b", broken=True)),
    "a profile in an unknown compression": in_png(chunk(b"iCCP", b"a\0\1b")),
    "an empty profile": in_png(chunk(b"iCCP", b"")),
    "a short gamma": in_png(chunk(b"gAMA", b"\0")),
    "short colors behind": behind_png(chunk(b"cHRM", b"\0")),
    "a short resolution": in_png(chunk(b"pHYs", b"\0\0")),
    "an animation of nothing": in_png(chunk(b"acTL", bytes(8))),
    "a frame cut": behind_png(chunk(b"fcTL", b"\0")),
    "a long text": in_png(chunk(b"zTXt", b"a\0\0" + LONG_TEXT)),
    "a long profile": in_png(chunk(b"iCCP", b"a\0\0" + LONG_TEXT)),
    "a name of a chunk that is none": in_png(chunk(b"ab\1d", b"x")),
    "a text cut off at the end": behind_png(chunk(b"tEXt", b"a\0" + bytes(100)))[:-60],
    "no end": PNG[:-12],
    "a WebP's XMP cut": WEBP[:-3],
    "a WebP of a wrong length": WEBP[:4] + b"\xff\xff\0\0" + WEBP[8:],
    "a WebP with EXIF of noise": encoded(PICTURE, "WEBP", lossless=True, exif=b"noise"),
    "a TIFF turned by a text": in_tiff(0x0112, 2, 1),
    "a TIFF with XMP in numbers": in_tiff(700, 3, 1),
    "a TIFF with EXIF that is nowhere": in_tiff(0x8769, 16, 1),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_metadata_is_no_damage(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(ODD[name])
    kind, pixels = decode(path, 3, None)
    exact = torch.from_numpy(NOISE).permute(2, 0, 1)
    expected = torch.from_numpy(np.array(Image.open(io.BytesIO(JPEG)))).permute(2, 0, 1)
    assert torch.equal(pixels, expected if ODD[name].startswith(b"\xff\xd8") else exact)
    assert (kind.height, kind.width) == (20, 30)
    assert torch.equal(read_pixels(ODD[name], 3, None), pixels)
    assert read_kind(path).width == 30


@pytest.mark.parametrize("content", [PNG[:-60], JPEG[:-200], JPEG[:-6], WEBP[:100], TIFF[:900], PNG[:IDAT] + PNG[-12:]])
def test_pixels_that_are_missing_are_damage_all_the_same(tmp_path: Path, content: bytes) -> None:
    """The negative control: what is read without its metadata is not read without its pixels."""
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_image(path, 3, None)
    assert "delete" not in str(caught.value)
    with pytest.raises(Exception):  # noqa: B017 - Pillow's, of any kind
        read_pixels(content, 3, None)


def test_a_jpeg_that_is_cut_anywhere_before_its_end_is_damage() -> None:
    """Also by one byte of its pixels, which is all the difference to one that only lacks its end."""
    for size in ((30, 20), (64, 64), (7, 5)):
        for quality in (30, 95):
            whole = encoded(PICTURE.resize(size), "JPEG", quality=quality)
            assert torch.equal(read_pixels(whole[:-2], 3, None), read_pixels(whole, 3, None))
            for cut in (*range(3, 12), 40, 100):
                with pytest.raises(OSError, match=r"(?i)truncated"):
                    read_pixels(whole[:-cut], 3, None)
    with pytest.raises(OSError, match=r"(?i)truncated"):
        read_pixels(encoded(PICTURE, "JPEG", progressive=True)[:-2], 3, None)


def test_a_flipped_bit_of_the_pixels_is_not_forgiven() -> None:
    content = bytearray(PNG)
    content[IDAT + 40] ^= 1
    bare = without_metadata(bytes(content))
    assert bare is not None
    with pytest.raises(Exception):  # noqa: B017 - Pillow's, of any kind
        read_pixels(bytes(content), 3, None)


TURNED = {1: 0, 3: 2, 6: -1, 8: 1}


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_tiff_is_turned_once(tmp_path: Path, mode: str, compression: str | None, orientation: int) -> None:
    """As PNG is. Pillow alone gives other pixels for gray files that are not compressed, once they are on a disk."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey = NOISE[:, :, 0] if mode != "I;16" else NOISE[:, :, 0].astype(np.uint16) * 257
    picture = Image.fromarray(NOISE if mode == "RGB" else grey)
    found = []
    for name, options in (("a.tif", {"compression": compression} if compression else {}), ("a.png", {})):
        path = tmp_path / name
        picture.save(path, exif=exif, **options)
        kind, pixels = decode(path, 3, None)
        assert tuple(pixels.shape[1:]) == (kind.height, kind.width) == (read_kind(path).height, read_kind(path).width)
        assert torch.equal(read_pixels(path.read_bytes(), 3, None), pixels)
        found.append(pixels)
    expected = np.rot90(NOISE if mode == "RGB" else np.repeat(NOISE[:, :, :1], 3, 2), TURNED[orientation]).copy()
    for pixels in found:
        assert torch.equal(pixels, torch.from_numpy(expected).permute(2, 0, 1))


MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16")


def test_what_any_mode_and_format_can_hold_is_read(tmp_path: Path) -> None:
    num_read = 0
    for mode in MODES:
        image = Image.new(mode, (30, 20)) if mode in ("La", "LAB", "PA", "RGBa", "I;16") else PICTURE.convert(mode)
        for kind in ("PNG", "TIFF", "GIF", "JPEG", "WEBP", "BMP", "JPEG2000", "PPM", "TGA", "PCX", "SGI", "ICO"):
            try:
                content = encoded(image, kind)
            except (OSError, ValueError, KeyError):
                continue  # the format has no such mode
            path = tmp_path / "a"
            path.write_bytes(content)
            for channels in (1, 3):
                pixels = read_image(path, channels, (16, 16))
                assert torch.equal(pixels, read_pixels(content, channels, (16, 16))), (mode, kind)
                num_read += 1
    assert num_read > 120


# What stands in for the package that reads HEIC: each file is a red picture of 8x6.
HEIF_OPENER = """
from PIL import Image, ImageFile

class RedHeif(ImageFile.ImageFile):
    format = "HEIF"
    def _open(self):
        self._size, self._mode = (8, 6), "RGB"
    def load(self):
        if self._im is None:
            self.im = Image.new("RGB", self.size, "red").im
        return super(ImageFile.ImageFile, self).load()

def register_heif_opener():
    Image.register_open("HEIF", RedHeif, lambda prefix: prefix[4:8] == b"ftyp")
"""
HEIC = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + b"pixels"
AVIF = b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif" + b"heic" * 9


def test_a_heic_is_read_with_the_package_of_its_extra_alone(tmp_path, monkeypatch):
    """The package is imported with the first such file; an AVIF, which begins alike, is none."""
    (tmp_path / "pillow_heif.py").write_text(HEIF_OPENER)
    (tmp_path / "a.heic").write_bytes(HEIC)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ResourceError, match=r"a\.heic needs the package pillow-heif, .*: pip install 'nnrun\[heic\]'"):
        read_image(tmp_path / "a.heic", 3, None)
    with pytest.raises(ModuleNotFoundError):
        read_pixels(HEIC, 3, None)
    (tmp_path / "a.avif").write_bytes(AVIF)
    with pytest.raises(DataError, match=r"a\.avif is"):
        read_image(tmp_path / "a.avif", 3, None)
    monkeypatch.delitem(sys.modules, "pillow_heif")
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    Image.OPEN.pop("HEIF", None)
    read_image(saved_png(tmp_path), 3, None)
    assert "pillow_heif" not in sys.modules
    pixels = read_image(tmp_path / "a.heic", 3, None)
    assert pixels[:, 0, 0].tolist() == [255, 0, 0] and tuple(pixels.shape) == (3, 6, 8)
    assert torch.equal(read_pixels(HEIC, 3, None), pixels)


def test_a_heic_is_listed_where_it_can_be_read(tmp_path, monkeypatch):
    for name in ("IMG_1.HEIC", "IMG_2.heif", "3.png"):
        (tmp_path / name).write_bytes(HEIC)
    for reads in (True, False):
        monkeypatch.setattr(finding, "reads_heic", lambda reads=reads: reads)
        found = finding.find_images(tmp_path)
        assert (len(found.images), len(found.others)) == ((3, 0) if reads else (1, 2))


def saved_png(folder):
    Image.new("RGB", (2, 2)).save(folder / "b.png")
    return folder / "b.png"
