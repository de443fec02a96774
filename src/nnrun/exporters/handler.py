"""Serve an image classifier with TorchServe: the handler inside of a `.mar`, as it stands.

It needs the standard library, torch and Pillow. A request holds one image file as its body or as its field `data`, or
several as fields of any names; the answer is JSON. Images are read as nnrun reads the files that it trains on.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

# A PNG of 20 KB can decode to 500 MB.
MAX_PIXELS = 50_000_000
# Reading one starts a program of its own (Ghostscript) on what the file says.
REFUSED_FORMATS = ("EPS",)
DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
TRANSPARENT_MODES = ("RGBA", "RGBa", "LA", "La", "PA")
# What TorchServe calls the one image of a request.
ALONE = ("data", "body")

warnings.filterwarnings("ignore", module=r"PIL\.")
Image.init()
FORMATS = [name for name in Image.OPEN if name not in REFUSED_FORMATS]


class ImageClassifier:
    """Answer `{"class", "probability", "top": [{"class", "probability"}, ...]}` for each image of each request."""

    def initialize(self, context: Any) -> None:
        """Load the network beside this file, and what `model.json` says of it."""
        folder = Path(context.system_properties["model_dir"])
        gpu = context.system_properties.get("gpu_id")
        self.device = torch.device(f"cuda:{gpu}" if gpu is not None and torch.cuda.is_available() else "cpu")
        self.card: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.network = torch.jit.load(str(folder / "model.pt"), map_location=self.device).eval()
        self.initialized = True

    def handle(self, requests: Sequence[Mapping[str, Any]], context: Any) -> list[dict[str, Any]]:
        """Return an answer for each request; those of one call go through the network together.

        A file that is no image is answered with `{"error"}`, and its request with 400 if it holds no other.
        """
        answers: list[dict[str, Any]] = [{} for _ in requests]
        places, pixels = [], []
        for number, request in enumerate(requests):
            for field, content in request.items():
                try:
                    pixels.append(self._read(content))
                    places.append((number, field))
                except Exception as error:  # Pillow fails on damaged bytes in every way there is
                    # Of a file that it does not know it says the address of the bytes.
                    why = "Pillow knows no such format" if isinstance(error, UnidentifiedImageError) else str(error)
                    answers[number][field] = {"error": f"{field} is no image that can be read: {why}"}
            if all(answers[number].get(field) for field in request):
                context.set_response_status(code=400, phrase="no image", idx=number)
        if pixels:
            with torch.inference_mode():
                values = self.network(torch.stack(pixels).to(self.device)).float().cpu()
            for (number, field), row in zip(places, values, strict=True):
                answers[number][field] = self._answer(row)
        return [_unwrapped(answer) for answer in answers]

    def _read(self, content: Any) -> Tensor:
        """Return the pixels of an image file as the network takes them, uint8 `(C, H, W)`."""
        if not isinstance(content, bytes | bytearray | memoryview):
            raise ValueError("send the bytes of an image file")
        channels, height, width = self.card["in_shape"]
        return read_pixels(bytes(content), channels, (height, width))

    def _answer(self, values: Tensor) -> dict[str, Any]:
        """Return the most probable classes of an image, in JSON's types."""
        best = values.topk(min(self.card["top_k"], len(values)))
        names, key = self.card["class_names"], self.card["answer"]
        top = [
            {"class": names[index], key: value}
            for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        return {**top[0], "top": top}


def _unwrapped(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the answer for the one image of a request without its field's name, which nobody chose."""
    (field, value), *others = answer.items() or [("", {"error": "the request holds no image"})]
    return value if not others and field in (*ALONE, "") else answer


def read_pixels(content: bytes, channels: int, size: tuple[int, int]) -> Tensor:
    """Return the pixels of an image file as uint8 `(C, H, W)`, exactly as `nnrun.data.images.read_image` does.

    `channels` is 1 (grey) or 3 (RGB); an image of another `size` (height, width) is brought to it by its shorter side,
    and its longer side cut at both ends. Raises where it is no image, or above 50 megapixels.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"it has {image.width:,} x {image.height:,} pixels; at most {MAX_PIXELS:,} are decoded")
        image.load()
        pixels = _of_8_bits(ImageOps.exif_transpose(image) or image).convert("L" if channels == 1 else "RGB")
    if (pixels.height, pixels.width) != size:
        pixels = _brought_to(pixels, *size)
    values = torch.frombuffer(bytearray(pixels.tobytes()), dtype=torch.uint8)
    return values.view(pixels.height, pixels.width, channels).permute(2, 0, 1).contiguous()


def _of_8_bits(image: Image.Image) -> Image.Image:
    """Return an image whose values have 8 bits and no transparency."""
    if image.mode in DEEP_MODES:
        low, high = image.convert("I").getextrema()
        if low < 0 or high > 65535:  # type: ignore[operator]
            raise ValueError(f"its pixels are numbers from {low} to {high}; 8 and 16 bits are read")
        return image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if image.mode == "F":
        raise ValueError("its pixels are floats, of no known range")
    if image.mode in TRANSPARENT_MODES or "transparency" in image.info:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    return image


def _brought_to(image: Image.Image, height: int, width: int) -> Image.Image:
    """Return the middle of an image, as much of it as has the right proportions, at a size."""
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    box = (left, top, left + width * scale, top + height * scale)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)
