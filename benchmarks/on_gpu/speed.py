"""The time of a step: of nnrun, of the tutorials' loop, of the bare step, and by cuDNN's choice of kernels."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from on_gpu.place import Place, Row, attempt
from on_gpu.runs import train
from on_gpu.trainings import Setup, bare_step, compute_as_nnrun, seconds_a_call, seconds_a_step

# The ways to launch a step on a GPU.
_WAYS = {
    "": ("trainer.cuda_graph=false",),
    ", captured": ("trainer.cuda_graph=true",),
}
MNIST_FILES = [f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]


def speed(place: Place) -> Iterator[Row]:
    """Milliseconds per step on MNIST at batch size 64: the tutorials' loop, nnrun, and the bare step."""
    compute_as_nnrun()
    tutorial = None
    if place.root is not None and not place.dry:
        tutorial = _tutorial_ms(place, place.root)
        yield "tutorial loop, fp32", {"ms": tutorial}
    for precision in ("fp32", "bf16"):
        bare = 1000 * seconds_a_call(bare_step("cnn", place.device, precision), place)
        yield f"bare, {precision}", {"ms": bare}
        for name, words in _WAYS.items() if place.on_gpu else [("", ())]:

            def measured(
                words: Sequence[str] = words, precision: str = precision, bare: float = bare
            ) -> dict[str, Any]:
                ours = _our_ms(place, precision, words, bare)
                return {"ms": ours} | ({"times_the_tutorial_loop": tutorial / ours} if tutorial else {})

            yield f"nnrun, {precision}{name}", attempt(measured)


def _our_ms(place: Place, precision: str, way: Sequence[str], bare_ms: float) -> float:
    """Return the milliseconds of a step of a run from the command line, whose kernels are loaded before."""
    data = ["data=digits"] if place.root is None or place.dry else ["data=mnist", f"data.root={place.root}"]
    words = [*data, "model=cnn", "data.batch_size=64", "trainer.epochs=1000000", "early_stopping=none"]
    words += [f"trainer.precision={precision}", *way]
    # About a second and a half.
    many = min(max(int(1500 / bare_ms), 200), 4000)
    for turn, steps in (("cold", 50), ("warm", many)):
        name = "-".join([precision, *way, turn]).replace("=", "-")
        summary = train(place.folder, name, *words, f"trainer.max_steps={place.steps(steps)}", device=str(place.device))
    return 64000 / float(summary["train"]["samples_per_second"])


def _tutorial_ms(place: Place, root: Path) -> float:
    """Return the milliseconds of a step of the tutorials' loop, which reads its samples one by one."""
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    from peers import Settings, Stopwatch, tutorial

    raw = place.folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST_FILES:
        source = root / "MNIST" / "raw" / name
        content = source.read_bytes() if source.is_file() else gzip.decompress(Path(f"{source}.gz").read_bytes())
        (raw / name).write_bytes(content)
    settings = Settings(place.folder, 250, 50, 0, place.device.type, "fp32")
    stopwatch = Stopwatch(settings)
    tutorial(settings, stopwatch)
    return 64000 / float(stopwatch.report()["samples_per_second"])


def kernels(place: Place) -> Iterator[Row]:
    """The gain of cuDNN's benchmark mode."""
    network = "cnn" if place.dry else "resnet18"
    for is_on in (True, False):
        for precision in ("bf16", "fp32") if not place.dry else ("bf16",):
            setup = Setup(network=network, precision=precision)
            name = f"{network} {precision}, channels last, cudnn.benchmark {'on' if is_on else 'off'}"
            yield name, {"microseconds": 1e6 * _with_benchmark(is_on, setup, place)}


def _with_benchmark(is_on: bool, setup: Setup, place: Place) -> float:
    """Return the seconds of a step with cuDNN's benchmark on or off."""

    class Fixed(type(torch.backends.cudnn)):  # type: ignore[misc]
        """cuDNN's module with a fixed benchmark setting."""

        benchmark: Any = property(lambda _: is_on, lambda *_: None)

    original = torch.backends.cudnn.__class__
    torch._C._set_cudnn_benchmark(is_on)
    torch.backends.cudnn.__class__ = Fixed
    try:
        return seconds_a_step(setup, place)
    finally:
        torch.backends.cudnn.__class__ = original
