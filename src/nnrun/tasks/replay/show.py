"""The findings about a replayed step on the console."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.job import Job
from nnrun.core.progress import Place
from nnrun.runs.console import Console
from nnrun.runs.sheet import Sheet
from nnrun.tasks.replay.examine import Findings, LayerReading

# The number of samples and of layers that are shown.
_NUM_SHOWN = 5
_LARGEST_FP16 = 65504


@dataclass(frozen=True)
class Replayed:
    """A step that was run again: where it is, its loss as trained, what fp32 shows, and its samples."""

    place: Place
    loss: float
    found: Findings
    # Positions in the training split, in the order of the batches.
    indices: list[int]


def show(replayed: Replayed, data: Opened, job: Job, recorded: dict[str, Any] | None, console: Console) -> None:
    """Print where NaN or infinity begins, the costliest samples, and the layers up to there."""
    found = replayed.found
    for line in findings_in_words(replayed, job, recorded):
        console.say(line)
    names = data.train.names
    samples = sorted(zip(found.losses, replayed.indices, strict=False), key=lambda pair: -_rank(pair[0]))[:_NUM_SHOWN]
    if any(map(math.isfinite, found.losses)):
        table = Sheet(box=None, padding=(0, 2, 0, 0))
        for title in ("costliest samples of the step", "loss"):
            table.add_column(title)
        for loss, index in samples:
            table.add_row(f"train sample {index}" + (f" {names[index]}" if names is not None else ""), f"{loss:.4g}")
        console.say("")
        console.table(table)
    layers = Sheet(box=None, padding=(0, 2, 0, 0))
    for title in ("layer", "largest output", "gradient norm"):
        layers.add_column(title)
    for reading in layers_to_show(found):
        norm = "" if reading.gradient_norm is None else f"{reading.gradient_norm:.4g}"
        layers.add_row(f"{reading.layer} ({reading.kind})", f"{reading.largest_output:.4g}", norm)
    console.say("")
    console.table(layers)


def layers_to_show(found: Findings) -> Sequence[LayerReading]:
    """Return the last layers up to the first whose output is not finite; if all are, those with the largest outputs."""
    bad = next((n for n, reading in enumerate(found.layers) if not math.isfinite(reading.largest_output)), None)
    if bad is None:
        return sorted(found.layers, key=lambda reading: -reading.largest_output)[:_NUM_SHOWN]
    return found.layers[max(0, bad + 1 - _NUM_SHOWN) : bad + 1]


def findings_in_words(replayed: Replayed, job: Job, recorded: dict[str, Any] | None) -> list[str]:
    """Return the findings as lines to print."""
    found, precision = replayed.found, job.precision.name
    same = "" if recorded is None else f" (recorded: {recorded['loss']})"
    in_fp32 = "" if precision == "fp32" else f" in {precision} as trained, {found.loss:.6g} in fp32"
    lines = [f"{replayed.place}: loss {replayed.loss:.6g}{in_fp32}{same}"]
    if found.begins is not None:
        lines.append(f"NaN or infinity begins {found.begins}")
        for number in found.samples[:_NUM_SHOWN]:
            lines.append(f"train sample {replayed.indices[number]} is not finite")
        if found.operation is not None and found.where == "backward":
            where = f" ({found.line})" if found.line else ""
            lines.append(f"the derivative of {found.operation} is NaN{where}")
        if found.where == "weights":
            lines.append(f"an earlier step made it: replay.step={replayed.place.step - 1}")
        return lines
    if math.isfinite(replayed.loss):
        lines.append("nothing in this step is NaN or infinite")
        return lines
    largest = max(found.layers, key=lambda reading: reading.largest_output, default=None)
    if largest is not None and precision == "fp16" and largest.largest_output > _LARGEST_FP16:
        lines.append(f"layer {largest.layer} returns {largest.largest_output:.4g}: more than fp16 can hold")
    lines.append(f"everything is finite in fp32: use trainer.precision=fp32 instead of {precision}")
    return lines


def _rank(value: float) -> float:
    """Return a value for sorting: NaN counts as the largest."""
    return math.inf if math.isnan(value) else value
