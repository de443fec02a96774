"""Serve an image classifier with TorchServe: the handler in a `.mar`, copied from this file.

It needs only the standard library, torch and Pillow. A request has one image file as its body or in its field `data`,
or several in fields of any names; the response is JSON. Images are decoded exactly as nnrun decodes training images.
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

# In the archive the next line is replaced by the text of that module.
from nnrun.components.data.pixels import MAX_PIXELS, Conversion, read_pixels  # noqa: F401

# TorchServe's field names for the single image of a request.
ALONE = ("data", "body")


class ImageClassifier:
    """Return `{"class", "probability", "top": [{"class", "probability"}, ...]}` for each image of each request."""

    def initialize(self, context: Any) -> None:
        """Load the network and its metadata, `model.json`, from the folder of this file."""
        folder = Path(context.system_properties["model_dir"])
        gpu = context.system_properties.get("gpu_id")
        self.device = torch.device(f"cuda:{gpu}" if gpu is not None and torch.cuda.is_available() else "cpu")
        self.card: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.network = torch.jit.load(str(folder / "model.pt"), map_location=self.device).eval()
        self.initialized = True

    def handle(self, requests: Sequence[Mapping[str, Any]], context: Any) -> list[dict[str, Any]]:
        """Return a response for each request; the images of one call are one batch.

        A file that is not an image gets `{"error"}`; a request without any valid image gets status 400.
        """
        answers: list[dict[str, Any]] = [{} for _ in requests]
        places, pixels = [], []
        for number, request in enumerate(requests):
            for field, content in request.items():
                try:
                    pixels.append(self._read(content))
                    places.append((number, field))
                except Exception as error:  # damaged bytes can raise anything in Pillow
                    # Pillow's own message for an unknown format contains a memory address.
                    why = "unknown format" if isinstance(error, UnidentifiedImageError) else str(error)
                    answers[number][field] = {"error": f"cannot read {field} as an image: {why}"}
            if all(answers[number].get(field) for field in request):
                context.set_response_status(code=400, phrase="no image", idx=number)
        if pixels:
            with torch.inference_mode():
                values = self.network(torch.stack(pixels).to(self.device)).float().cpu()
            for (number, field), row in zip(places, values, strict=True):
                answers[number][field] = self._answer(row)
        return [_unwrapped(answer) for answer in answers]

    def _read(self, content: Any) -> Tensor:
        """Return the pixels of an image file in the network's input format, uint8 `(C, H, W)`."""
        if not isinstance(content, bytes | bytearray | memoryview):
            raise ValueError("the request must contain the bytes of an image file")
        channels, height, width = self.card["in_shape"]
        return read_pixels(bytes(content), channels, (height, width), Conversion.of_texts(self.card))

    def _answer(self, values: Tensor) -> dict[str, Any]:
        """Return the most probable classes of an image, as plain values for JSON."""
        best = values.topk(min(self.card["top_k"], len(values)))
        names, key = self.card["class_names"], self.card["answer"]
        top = [
            {"class": names[index], key: value}
            for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        return {**top[0], "top": top}


def _unwrapped(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of a request; without the field's name if that is TorchServe's default for a single image."""
    (field, value), *others = answer.items() or [("", {"error": "the request contains no image"})]
    return value if not others and field in (*ALONE, "") else answer
