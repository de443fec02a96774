"""HEIC, the format of iPhones' photos, which Pillow reads with a package beside it.

TorchServe's handler holds this file as it stands, as it does pixels.py.
"""

from __future__ import annotations

from typing import Any

from PIL import Image

# Kinds of HEIC, of which a file names one among those that it is compatible with.
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")


def with_heic(file: Any) -> bool:
    """Return whether a file is a HEIC, as iPhones write them; then Pillow is given what reads it.

    Raises ModuleNotFoundError where that is not installed.
    """
    start = file.read(64)
    file.seek(0)
    brands = start[8 : int.from_bytes(start[:4], "big")]
    is_heic = start[4:8] == b"ftyp" and any(brand in brands for brand in HEIC_BRANDS)
    if is_heic and "HEIF" not in Image.OPEN:
        import pillow_heif  # noqa: PLC0415 - hardly any data has them

        pillow_heif.register_heif_opener()
    return is_heic
