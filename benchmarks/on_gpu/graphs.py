"""The captured step, which is launched as one CUDA graph, beside the eager one, which is launched kernel by kernel."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from on_gpu.place import Place, Row, attempt
from on_gpu.runs import train
from on_gpu.trainings import SHAPES, Setup, bare_step, compute_as_nnrun, noise_bytes, seconds_a_call, seconds_a_step


def graph(place: Place) -> Iterator[Row]:
    """Microseconds and memory of a step, bare and nnrun's, eager and captured; and the time to 99 % on MNIST."""
    compute_as_nnrun()
    for network in SHAPES if not place.dry else ("cnn",):
        for precision in ("bf16", "fp32") if not place.dry else ("bf16",):
            yield from _bare(place, network, precision)
            yield from _ours(place, network, precision)
    if place.root is None or place.dry:
        return
    for name, graph in (("eager", "false"), ("eager, again", "false"), ("captured", "true")):
        yield f"experiment=mnist_fast, {name}", attempt(partial(_to_99, place, name, graph))


def _bare(place: Place, network: str, precision: str) -> Iterator[Row]:
    """Yield the rows of the bare step."""
    forget(place)
    seconds = seconds_a_call(bare_step(network, place.device, precision), place)
    yield f"{network} {precision}, bare, eager", figures_of(place, seconds, 0)
    if not place.on_gpu:
        return
    forget(place)

    def captured() -> dict[str, Any]:
        replay = _captured(bare_step(network, place.device, precision, capturable=True))
        return figures_of(place, seconds_a_call(replay, place), 0)

    yield f"{network} {precision}, bare, captured", attempt(captured)


def _captured(step: Callable[[], None]) -> Callable[[], None]:
    """Return a call that replays a step as one graph, captured as torch's documentation says."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        step()

    def replay(_: Callable[[], None] = step) -> None:
        """Replay; as long as this can be called, the step keeps the memory that the graph works on."""
        captured.replay()

    return replay


def _ours(place: Place, network: str, precision: str) -> Iterator[Row]:
    """Yield the rows of nnrun's step."""
    setup = Setup(network=network, precision=precision)
    for name, one in (("eager", setup), ("captured", replace(setup, cuda_graph=True))):
        if one.cuda_graph and not place.on_gpu:
            continue
        forget(place)

        def measured(one: Setup = one) -> dict[str, Any]:
            return figures_of(place, seconds_a_step(one, place), noise_bytes(one, place))

        yield f"{network} {precision}, nnrun, {name}", attempt(measured)


def forget(place: Place) -> None:
    """Free the memory of the row before, and measure the peak anew."""
    gc.collect()
    if place.on_gpu:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def figures_of(place: Place, seconds: float, without_bytes: int) -> dict[str, Any]:
    """Return the time of a step, and the memory at its peak without that of the samples."""
    figures: dict[str, Any] = {"microseconds": 1e6 * seconds}
    if place.on_gpu:
        figures["MB"] = (torch.cuda.max_memory_reserved() - without_bytes) / 1e6
    return figures


def _to_99(place: Place, name: str, graph: str) -> dict[str, Any]:
    """Return the time and the accuracy of the experiment that trains for 99 %."""
    start = time.perf_counter()
    given = ["experiment=mnist_fast", f"data.root={place.root}", f"trainer.cuda_graph={graph}"]
    summary = train(place.folder, f"fast-{name.replace(', ', '-')}", *given, device=str(place.device))
    return {
        "training_seconds": summary["train"]["seconds"],
        "all_seconds": time.perf_counter() - start,
        "test_accuracy": summary["metrics"]["test/accuracy"],
    }
