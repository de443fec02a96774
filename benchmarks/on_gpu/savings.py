"""What saves launches and memory besides the captured step: captured validations, recomputed activations, compiling."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from nnrun.assembly.cuda_recorder import CudaRecorder
from nnrun.components.data.normalize import Normalize
from nnrun.core.batches import SplitBatches
from nnrun.core.captured_evaluation import CapturedEvaluation
from nnrun.core.device import set_deterministic
from nnrun.core.evaluate import evaluate
from nnrun.core.objective import Objective
from nnrun.core.recompute import Recomputing, layers_to_recompute
from nnrun.core.residency import Layout, samples_at
from on_gpu.graphs import figures_of, forget
from on_gpu.place import Place, Row, attempt
from on_gpu.trainings import (
    SHAPES,
    Setup,
    compute_as_nnrun,
    make_network,
    make_training,
    noise,
    noise_bytes,
    seconds_a_step,
)

# Images of an evaluation, and how often it is timed.
IMAGES, TIMES = 10_000, 5
# Samples in a batch where activations are what takes the memory.
_MANY = 256


def evaluation(place: Place) -> Iterator[Row]:
    """Seconds of an evaluation, launched kernel by kernel and captured; and whether a replay reads the new weights."""
    compute_as_nnrun()
    for network in SHAPES if not place.dry else ("cnn",):
        yield f"{network}, {IMAGES:,} images, eager", attempt(partial(_evaluated, place, network, captured=False))
        if place.on_gpu:
            yield f"{network}, {IMAGES:,} images, captured", attempt(partial(_evaluated, place, network, captured=True))


def _evaluated(place: Place, network: str, *, captured: bool) -> dict[str, Any]:
    """Return the figures of an evaluation."""
    forget(place)
    state, work, _ = make_training(Setup(network=network), place.device, 1)
    shape = SHAPES[network]
    layout = Layout(place.device, channels_last=True)
    split = noise(network, IMAGES if not place.dry else 100)
    batches = SplitBatches(samples_at(split, layout), Normalize((0.5,) * shape[0], (0.25,) * shape[0]), 500)
    measure = captured_evaluation(place.device) if captured else evaluate
    figures: dict[str, Any] = {}
    start = place.now()
    measure(state.network, work.objective, batches)
    figures["first_ms"] = 1000 * (place.now() - start)
    start = place.now()
    times = TIMES if not place.dry else 1
    for _ in range(times):
        measure(state.network, work.objective, batches)
    figures["ms"] = 1000 * (place.now() - start) / times
    if place.on_gpu:
        figures["MB"] = (torch.cuda.max_memory_reserved() - split.inputs.nbytes) / 1e6
    if captured:
        figures["same_sums_for_new_weights"] = _reads_new_weights(measure, state.network, work.objective, batches)
    return figures


def captured_evaluation(device: torch.device) -> CapturedEvaluation:
    """Return what evaluates by replays; it raises RuntimeError if that cannot be."""

    def give_up(why: str) -> None:
        raise RuntimeError(f"not captured: {why}")

    return CapturedEvaluation(CudaRecorder(device, []), give_up)


def _reads_new_weights(measure: Any, network: nn.Module, objective: Objective, batches: SplitBatches) -> bool:
    """Return whether a replay gives the sums of other weights once they are written in place."""
    before = measure(network, objective, batches)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.9)
    now, expected = measure(network, objective, batches), evaluate(network, objective, batches)
    same = all(torch.allclose(total.double(), expected[name].double(), rtol=1e-6) for name, total in now.items())
    return same and not torch.equal(before["loss"], now["loss"])


def recompute(place: Place) -> Iterator[Row]:
    """Time and memory of a step whose activations are computed again, and whether its gradients have the same bits."""
    compute_as_nnrun()
    network = "resnet18" if not place.dry else "cnn"
    plain = Setup(network=network, batch_size=_MANY if not place.dry else 4)
    settings = {"kept": plain, "computed again": replace(plain, recompute=True)}
    if place.on_gpu:
        settings |= {
            "kept, captured": replace(plain, cuda_graph=True),
            "computed again, captured": replace(plain, cuda_graph=True, recompute=True),
        }
    for name, setup in settings.items():
        yield f"{network} bf16, batch of {plain.batch_size}, {name}", attempt(partial(_step, place, setup))
    for network in SHAPES if not place.dry else ("cnn",):
        for kernels in ("deterministic", "fastest"):
            compared = attempt(partial(_same_gradients, place, network, is_deterministic=kernels == "deterministic"))
            yield f"{network}, gradients, {kernels} kernels", compared
    if place.on_gpu:
        # A recording does not ask for the state of a generator: the check finds the other draws of the second pass.
        drawing = Setup(network="cnn", cuda_graph=True, recompute=True)
        yield "cnn with dropout, computed again, captured: must be refused", attempt(partial(_refused, place, drawing))


def _step(place: Place, setup: Setup) -> dict[str, Any]:
    """Return the time of a step, and its memory."""
    forget(place)
    figures = figures_of(place, seconds_a_step(setup, place), noise_bytes(setup, place))
    if place.on_gpu:
        figures["MB_used"] = (torch.cuda.max_memory_allocated() - noise_bytes(setup, place)) / 1e6
    return figures


def _refused(place: Place, setup: Setup) -> dict[str, Any]:
    """Return why a step is not captured; raise RuntimeError if it is."""
    try:
        seconds_a_step(setup, place)
    except RuntimeError as error:
        return {"says": str(error)[:200]}
    raise RuntimeError("it was captured")


def _same_gradients(place: Place, network: str, *, is_deterministic: bool) -> dict[str, Any]:
    """Return whether both ways give the same bits, and whether BatchNorm's statistics do; other draws must not."""
    set_deterministic(is_deterministic)
    try:
        kept, again, other = (_gradients(place, network, *how) for how in ((False, 0), (True, 0), (False, 1)))
    finally:
        set_deterministic(False)
    gap = max(
        float((one - two).abs().max() / one.abs().max().clamp(min=1e-30)) for one, two in zip(kept, again, strict=True)
    )
    same = all(torch.equal(one, two) for one, two in zip(kept, again, strict=True))
    differ = not all(torch.equal(one, two) for one, two in zip(kept, other, strict=True))
    return {"same_bits": same, "largest_relative_gap": gap, "other_input_differs": differ}


def _gradients(place: Place, network: str, recomputed: bool, seed: int) -> list[Tensor]:
    """Return the gradients of a batch, and the buffers after it."""
    model = make_network(network, batchnorm=True).to(place.device)
    call = Recomputing(model, layers_to_recompute(model, True), place.device) if recomputed else model
    split = noise(network, 64)
    torch.manual_seed(seed)
    with torch.autocast(place.device.type, dtype=torch.bfloat16):
        scores = call(split.inputs.to(place.device).float() / (255 + seed))
    nn.functional.cross_entropy(scores.float(), split.targets.to(place.device)).backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return [*gradients, *(buffer.float() for buffer in model.buffers())]


def compiled(place: Place) -> Iterator[Row]:
    """Time and memory of a step by cuda_graph and compile; the first compiled one compiles, the second finds it."""
    compute_as_nnrun()
    for is_compiled, captured in product((False, True), (False, True)):
        if not place.on_gpu and (is_compiled or captured):
            continue
        setup = Setup(compiled=is_compiled, cuda_graph=captured)
        name = f"cnn bf16, compile={str(is_compiled).lower()}, cuda_graph={str(captured).lower()}"
        yield name, attempt(partial(_timed, place, setup))


def _timed(place: Place, setup: Setup) -> dict[str, Any]:
    """Return the time of a step, its memory, and the seconds of all, which compiling takes."""
    start = time.perf_counter()
    return _step(place, setup) | {"seconds_of_all": time.perf_counter() - start}
