"""Pass the pictures of the costliest samples of the test to the loggers that take images."""

from __future__ import annotations

import io

from nnrun.base.sample_results import SampleResults
from nnrun.components.callbacks.loggers import Loggers


def pass_pictures(loggers: Loggers, results: SampleResults, step: int) -> None:
    """Pass the pictures that are kept with a test's results, the costliest first, if a logger takes images."""
    if not results.pictures or not loggers.take("image"):
        return
    import torch  # noqa: PLC0415 - only where there are pictures
    from PIL import Image  # noqa: PLC0415

    rows = {int(index): row for row, index in enumerate(results.indices)}
    for number, (index, content) in enumerate(results.pictures.items(), 1):
        with Image.open(io.BytesIO(content)) as picture:
            raw = bytearray(picture.convert("RGB" if picture.mode != "L" else "L").tobytes())
            shape = (picture.height, picture.width, 1 if picture.mode == "L" else 3)
        image = torch.frombuffer(raw, dtype=torch.uint8).reshape(shape).permute(2, 0, 1)
        loggers.image(step, f"mistakes/{number:02d}{_caption(results, rows.get(index))}", image)


def _caption(results: SampleResults, row: int | None) -> str:
    """Return the class of a sample and the predicted one, as part of a name; nothing for labels and values."""
    if row is None or results.predicted is None:
        return ""
    truth, guess = (results.names[int(each[row])].replace("/", "_") for each in (results.targets, results.predicted))
    return f" {truth}, predicted {guess}"
