"""HEIC, the format of iPhone photos, which Pillow reads with an extra package.

TorchServe's handler contains this file unchanged, like pixels.py.
"""

from __future__ import annotations

from typing import Any

from PIL import Image

# Brands of HEIC; a file lists at least one among its compatible brands.
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")


def with_heic(file: Any) -> bool:
    """Return whether a file is a HEIC, as iPhones write them; if so, register its reader with Pillow.

    Raises ModuleNotFoundError where the reader is not installed.
    """
    start = file.read(64)
    file.seek(0)
    brands = start[8 : int.from_bytes(start[:4], "big")]
    is_heic = start[4:8] == b"ftyp" and any(brand in brands for brand in HEIC_BRANDS)
    if is_heic and "HEIF" not in Image.OPEN:
        import pillow_heif  # noqa: PLC0415 - few data sets need it

        pillow_heif.register_heif_opener()
    return is_heic
