"""Draw a batch as the network sees it: augmented and normalized, converted back to pixels."""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nnrun.base.files import DurableFile, saving
from nnrun.base.targets import Targets
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.data import Preprocessing
from nnrun.core.target_values import in_words

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

NUM_PICTURES = 32
NUM_COLUMNS = 8
# Minimum width of a drawn picture, in pixels; pictures are enlarged by a whole factor.
SHOWN_SIZE = 84
TEXT_HEIGHT = 14
GAP = 6


def write_sheet(path: Path, batch: Batch, preprocessing: Preprocessing, targets: Targets) -> bool:
    """Write a PNG of the first pictures of a batch, their targets below them; return whether they are pictures.

    Pictures are inputs `(N, C, H, W)` with one or three channels, or the first of several inputs that are.
    """
    leaves = tree_leaves(batch.inputs)
    inputs = next((leaf for leaf in leaves if leaf.dim() == 4 and leaf.shape[1] in (1, 3)), None)
    if inputs is None:
        return False
    count = min(NUM_PICTURES, batch.num_samples)
    pixels = to_pixels(inputs[:count].detach().float().cpu().contiguous(), preprocessing)
    names = in_words(batch.targets[:count].cpu(), targets)
    sheet = _sheet(pixels, names)
    with saving(path), DurableFile(path.parent) as file:
        file.write(_png(sheet))
        file.commit(path.name)
    return True


def to_pixels(inputs: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return normalized pictures as uint8 of the same shape.

    The normalization is undone if it is known. Values that then are not pixels, such as floats on another scale, are
    stretched: the smallest becomes black, the largest white.
    """
    mean, std, peak = (getattr(preprocessing, name, None) for name in ("mean", "std", "peak"))
    if mean is None or std is None or peak is None:
        values = inputs
    else:
        values = inputs * torch.tensor(std).view(1, -1, 1, 1) + torch.tensor(mean).view(1, -1, 1, 1)
    if peak != 255:
        low, high = values.min(), values.max()
        values = (values - low) / (high - low).clamp(min=1e-12)
    return (values * 255).round().clamp(0, 255).to(torch.uint8)


def _sheet(pixels: Tensor, names: Sequence[str]) -> Image:
    """Draw pictures in rows and columns, each with its name below."""
    from PIL import Image as images  # noqa: PLC0415 - only an inspection draws
    from PIL import ImageDraw as drawing  # noqa: PLC0415 - likewise

    height, width = pixels.shape[2:]
    scale = max(1, math.ceil(SHOWN_SIZE / width))
    cell = (width * scale + GAP, height * scale + TEXT_HEIGHT + GAP)
    columns = min(NUM_COLUMNS, len(names))
    sheet = images.new("RGB", (columns * cell[0] + GAP, math.ceil(len(names) / columns) * cell[1] + GAP), "white")
    draw = drawing.Draw(sheet)
    for index, (picture, name) in enumerate(zip(pixels, names, strict=True)):
        left, top = GAP + index % columns * cell[0], GAP + index // columns * cell[1]
        rows = picture.permute(1, 2, 0).squeeze(2).contiguous().numpy()
        shown = images.fromarray(rows).resize((width * scale, height * scale), images.Resampling.NEAREST)
        sheet.paste(shown, (left, top))
        _write(draw, (left, top + height * scale + 1), name, width * scale)
    return sheet


def _write(draw: ImageDraw, place: tuple[int, int], text: str, width: int) -> None:
    """Write a text, cut to `width`, without accents; a character that the font lacks becomes `?`."""
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    # Pillow's built-in font has no other characters.
    text = bare.encode("ascii", "replace").decode("ascii")
    while len(text) > 1 and draw.textlength(text) > width:
        text = text[:-2] + "." if text.endswith(".") else text[:-1] + "."
    draw.text(place, text, fill="black")


def _png(image: Image) -> bytes:
    """Return an image as the bytes of a PNG."""
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()
