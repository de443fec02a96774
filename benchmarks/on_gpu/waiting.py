"""Where steps wait for the device, how many kernels they launch, and their time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from nnrun.components.data.normalize import Normalize
from nnrun.core.batches import SplitBatches
from nnrun.core.evaluate import evaluate
from nnrun.core.residency import Layout, samples_at
from on_gpu.place import Place, Row, attempt
from on_gpu.tracing import look, trace, trace_calls
from on_gpu.trainings import (
    SHAPES,
    Setup,
    bare_step,
    compute_as_nnrun,
    make_training,
    noise,
    seconds_a_call,
    seconds_a_step,
)

_SKIP: dict[str, Any] = {"skip": True, "batchnorm": True}
WAITS = {
    "fp32": Setup(precision="fp32"),
    "bf16": Setup(),
    "fp16": Setup(precision="fp16", clip=1.0),
    "skip": Setup(skip=True, batchnorm=True),
    "skip, clip, EMA": Setup(ema=True, clip=1.0, **_SKIP),
    "BatchNorm with EMA": Setup(ema=True, batchnorm=True),
    "accumulate": Setup(accumulate=2),
    "a schedule by steps": Setup(words=("scheduler=onecycle",)),
    "SGD without momentum, skip": Setup(
        words=("optimizer=sgd", "optimizer.momentum=0", "optimizer.nesterov=false"), **_SKIP
    ),
    "SGD with momentum, skip": Setup(words=("optimizer=sgd",), **_SKIP),
    "Muon, skip": Setup(words=("optimizer=muon",), **_SKIP),
    "Muon, fp16": Setup(words=("optimizer=muon",), precision="fp16"),
    # With skip it waits in each step, as docs/gpu.md says: its counts of steps stay on the host.
    "Adagrad": Setup(words=("optimizer=adagrad",)),
    "RAdam, skip": Setup(words=("optimizer=radam",), **_SKIP),
    "NAdam, skip": Setup(words=("optimizer=nadam",), **_SKIP),
    "RMSprop, skip": Setup(words=("optimizer=rmsprop",), **_SKIP),
    "RAdam, fp16": Setup(words=("optimizer=radam",), precision="fp16"),
    "memory": Setup(residency="memory"),
    "stream": Setup(residency="stream", num_workers=2),
    "resnet18, skip, EMA": Setup(network="resnet18", skip=True, ema=True),
    "captured": Setup(cuda_graph=True),
    "captured, clip, EMA": Setup(cuda_graph=True, clip=1.0, ema=True),
    "captured, trivialaugment": Setup(cuda_graph=True, words=("augment=trivialaugment",)),
}
for _name in ("crop_flip", "digits", "erasing", "mixup", "cutmix", "color", "trivialaugment"):
    WAITS[_name] = Setup(network="resnet18" if _name == "color" else "cnn", words=(f"augment={_name}",))
# These are looked at with deterministic kernels too.
_DETERMINISTIC = ("fp32", "fp16", "skip, clip, EMA", "Muon, skip", "resnet18, skip, EMA", "mixup", "captured")
# A dry run looks only at these.
_DRY = ("fp32", "Muon, skip", "mixup")


def waits(place: Place) -> Iterator[Row]:
    """For each setting, where its steps wait, if at all, and how many launches they need; some deterministic too."""
    names = [name for name in WAITS if not place.dry or name in _DRY]
    for is_deterministic in (False, True):
        for name in names if not is_deterministic else [name for name in names if name in _DETERMINISTIC]:
            if not place.on_gpu and (WAITS[name].precision == "fp16" or WAITS[name].cuda_graph):
                continue
            setup = replace(WAITS[name], deterministic=is_deterministic)
            yield f"{name}{', deterministic' if is_deterministic else ''}", _look_at(setup, place)
        yield f"evaluate{', deterministic' if is_deterministic else ''}", look_at_evaluation(place)


def _look_at(setup: Setup, place: Place) -> dict[str, Any]:
    """Return the findings about a setting."""
    return attempt(partial(look, setup, place.device, place.steps(4), place.steps(5)))


def look_at_evaluation(place: Place) -> dict[str, Any]:
    """Return where an evaluation waits; its sums are read after it."""
    state, work, _ = make_training(Setup(), place.device, 1)
    layout = Layout(place.device, channels_last=True)
    batches = SplitBatches(samples_at(noise("cnn", 256), layout), Normalize((0.5,), (0.25,)), 64)
    evaluate(state.network, work.objective, batches)
    ready = iter(batches.epoch(0))
    next(ready)  # computes the order
    try:
        if place.on_gpu:
            torch.cuda.set_sync_debug_mode("error")
        for batch in ready:
            with torch.inference_mode():
                outputs = state.network(batch.inputs)
                work.objective.eval_metric.update(
                    work.objective.eval_metric.init(place.device),
                    outputs,
                    work.objective.losses(outputs, batch),
                    batch,
                )
    except Exception as error:
        return {"waits_at": f"{type(error).__name__}: {error}"[:300]}
    finally:
        if place.on_gpu:
            torch.cuda.set_sync_debug_mode("default")
    return {"waits_at": "nowhere"}


def steps(place: Place) -> Iterator[Row]:
    """Microseconds and launches per step: bare, nnrun's, with EMA, with skipping."""
    compute_as_nnrun()
    for network in SHAPES if not place.dry else ("cnn",):
        step = bare_step(network, place.device, "bf16")
        figures = trace_calls(step, place.device, warmup=place.steps(5), steps=place.steps(5))
        yield f"{network} bf16, bare", {"microseconds": 1e6 * seconds_a_call(step, place), **figures}
        plain = Setup(network=network)
        settings = {"nnrun": plain, "nnrun, EMA": replace(plain, ema=True), "nnrun, skip": replace(plain, skip=True)}
        for name, setup in settings.items():
            yield f"{network} bf16, {name}", _figures(setup, place)


def _figures(setup: Setup, place: Place) -> dict[str, Any]:
    """Return the time and the launches of a training's step."""
    microseconds = 1e6 * seconds_a_step(setup, place)
    return {"microseconds": microseconds, **trace(setup, place.device, place.steps(5), place.steps(5))}
