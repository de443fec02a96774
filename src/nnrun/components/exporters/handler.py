"""Serve an image classifier with TorchServe: the handler inside of a `.mar`, as it stands.

It needs the standard library, torch and Pillow. A request holds one image file as its body or as its field `data`, or
several as fields of any names; the answer is JSON. Images are read as nnrun reads the files that it trains on.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import UnidentifiedImageError
from torch import Tensor

# In the archive the text of this module stands here, in the place of the line.
from nnrun.components.data.pixels import MAX_PIXELS, Conversion, read_pixels  # noqa: F401

# What TorchServe calls the one image of a request.
ALONE = ("data", "body")


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
        return read_pixels(bytes(content), channels, (height, width), Conversion.of_texts(self.card))

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
