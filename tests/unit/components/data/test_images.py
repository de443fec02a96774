"""Image files: every mode comes out as the pixels that were saved, and what is no image is named."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from nnrun.base.errors import DataError
from nnrun.base.paths import shown
from nnrun.components.data.finding import find_images
from nnrun.components.data.images import read_image, read_kind


def saved(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


def one_colour(mode: str, colour, size=(6, 4)) -> Image.Image:
    return Image.new(mode, size, colour)


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "expected"),
    [
        ("L", 77, ".png", (77, (77, 77, 77))),
        ("1", 1, ".png", (255, (255, 255, 255))),
        ("RGB", (200, 100, 50), ".png", (124, (200, 100, 50))),
        ("RGB", (200, 100, 50), ".bmp", (124, (200, 100, 50))),
        ("RGB", (200, 100, 50), ".webp", (None, None)),
        ("P", 0, ".gif", (0, (0, 0, 0))),
        # 128 of 255 parts of black on white
        ("LA", (0, 128), ".png", (127, (127, 127, 127))),
        ("RGBA", (255, 0, 0, 0), ".png", (255, (255, 255, 255))),
        ("RGBA", (255, 0, 0, 255), ".png", (76, (255, 0, 0))),
        ("CMYK", (0, 255, 255, 0), ".tif", (76, (255, 0, 0))),
        # clipped, these would be 255
        ("I;16", 65535, ".png", (255, (255, 255, 255))),
        ("I;16", 257 * 90, ".png", (90, (90, 90, 90))),
        ("I;16", 257 * 90, ".tif", (90, (90, 90, 90))),
        ("I", 257 * 90, ".tif", (90, (90, 90, 90))),
    ],
)
def test_every_mode_comes_out_as_what_was_saved(mode, colour, suffix, expected, tmp_path):
    path = saved(one_colour(mode, colour), tmp_path / f"a{suffix}")
    for channels, value in zip((1, 3), expected, strict=True):
        pixels = read_image(path, channels, None)
        assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (channels, 4, 6))
        if value is not None:  # a lossy format
            assert pixels[:, 0, 0].tolist() == torch.tensor(value).view(-1).tolist()


def test_a_palette_with_a_transparent_colour_lies_on_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putdata([0, 1])
    path = saved(image, tmp_path / "a.png", transparency=0)
    assert read_image(path, 3, None)[:, 0].T.tolist() == [[255, 255, 255], [200, 0, 0]]
    assert not read_kind(path).is_grey


def test_the_cameras_orientation_is_applied(tmp_path):
    image = Image.new("L", (3, 2))
    image.putdata([1, 2, 3, 4, 5, 6])
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(image, tmp_path / "a.png", exif=exif)
    assert read_image(path, 1, None)[0].tolist() == [[4, 1], [5, 2], [6, 3]]
    assert (read_kind(path).height, read_kind(path).width) == (3, 2)


def test_another_size_is_the_middle_at_the_shorter_side(tmp_path):
    """Of a picture with a red, a green and a blue third, what fits the square is green."""
    image = Image.new("RGB", (24, 8), "red")
    image.paste("lime", (8, 0, 16, 8))
    image.paste("blue", (16, 0, 24, 8))
    path = saved(image, tmp_path / "a.png")
    for size in ((4, 4), (16, 16)):
        pixels = read_image(path, 3, size)
        assert pixels.shape == (3, *size)
        assert pixels[:, 1, 2].tolist() == [0, 255, 0]
    assert read_image(path, 3, (8, 24))[0, 0].tolist() == [255] * 8 + [0] * 16, "its own size: not resampled"


def test_shrinking_is_antialiased(tmp_path):
    """A chequered board of single pixels is gray from afar; taken point by point, it would be black or white."""
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255
    path = saved(Image.fromarray(board.to(torch.uint8).numpy()), tmp_path / "a.png")
    middle = read_image(path, 1, (8, 8))[0, 2:-2, 2:-2]
    assert middle.min() > 120
    assert middle.max() < 135


def bomb() -> bytes:
    """A PNG of some bytes that says it is 60,000 by 60,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def cut_off(suffix: str) -> bytes:
    draw = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (40, 40), generator=draw, dtype=torch.uint8)
    file = io.BytesIO()
    Image.fromarray(noise.numpy()).save(file, format=suffix)
    return file.getvalue()[: len(file.getvalue()) // 2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty: it has 0 bytes"),
        (b"<!DOCTYPE html><html>404</html>", "is not an image: it contains HTML"),
        (b"label,x,y\n1,2,3\n", "is not an image: unknown format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
        (cut_off("JPEG"), "is damaged or truncated"),
        (cut_off("PNG"), "is damaged or truncated"),
        (bomb(), "is not decoded"),
    ],
)
def test_what_is_no_image_is_named(content, words, tmp_path):
    path = tmp_path / "a b\nc.png"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_image(path, 3, None)
    (message,) = caught.value.messages
    assert words in message
    assert "a b\\nc.png" in message
    assert "\n" not in message


def test_pixels_of_no_known_range_and_things_that_are_no_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="floats of unknown range"):
        read_image(saved(one_colour("F", 0.5), tmp_path / "a.tif"), 1, None)
    with pytest.raises(DataError, match="range from 70000 to 70000"):
        read_image(saved(one_colour("I", 70_000), tmp_path / "b.tif"), 1, None)
    with pytest.raises(DataError, match="No such file"):
        read_image(tmp_path / "c.png", 1, None)
    with pytest.raises(DataError, match="not a regular file"):
        read_image(tmp_path, 1, None)
    os.mkfifo(tmp_path / "d.png")
    with pytest.raises(DataError, match="not a file"):
        read_image(tmp_path / "d.png", 1, None)


def test_images_are_found_in_a_stable_order_whatever_their_names(tmp_path):
    names = ["b/2.png", "a é/x.JPG", "a é/new\nline.png", "10.png", "9.png", "z.txt", ".hidden.png", ".git/c.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "round").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = find_images(tmp_path)
    images = [str(path.relative_to(tmp_path)) for path in found.images]
    # The last two of the first folder cannot be read: that is said where they are.
    assert images == [
        *("10.png", "9.png", "nowhere.png", "pipe.png"),
        *("a é/new\nline.png", "a é/x.JPG", "b/2.png"),
    ]
    assert ([path.name for path in found.others], found.num_hidden) == (["z.txt"], 2)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        find_images(tmp_path / "nope")


def test_names_of_no_encoding_can_be_shown():
    assert shown(os.fsdecode(b"a\xff\n\x1b.png")) == "a\\xff\\n\\x1b.png"
    assert shown("é 猫.png") == "é 猫.png"
