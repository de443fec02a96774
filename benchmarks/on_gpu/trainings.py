"""Trainings with the core's own parts, on noise, to measure nnrun's steps in any setting."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import nn

from nnrun.assembly.cuda_recorder import CudaRecorder
from nnrun.assembly.training import make_augmenter, make_optimizer, make_scaler, make_scheduler
from nnrun.base.targets import Targets
from nnrun.cli import compose
from nnrun.components.data.normalize import Normalize
from nnrun.components.losses.cross_entropy import CrossEntropy
from nnrun.components.problems.classification import Classification
from nnrun.config.interpolation import known_late
from nnrun.core.batches import SplitBatches
from nnrun.core.captured_step import CapturedStep
from nnrun.core.compile import compile_network
from nnrun.core.device import Precision, set_deterministic, set_exact
from nnrun.core.ema import Ema
from nnrun.core.loop import train_epoch
from nnrun.core.nonfinite import FiniteWatch, SkippingWatch
from nnrun.core.objective import Objective
from nnrun.core.plan import Plan
from nnrun.core.recompute import Recomputing, layers_to_recompute
from nnrun.core.residency import Layout, samples_at
from nnrun.core.schedule import Schedule
from nnrun.core.seams.callback import Callback
from nnrun.core.seams.data import Split
from nnrun.core.skipping_step import SkippingStep
from nnrun.core.state import TrainState
from nnrun.core.step import Step
from nnrun.core.work import Work
from on_gpu.place import Place

NUM_CLASSES = 10
# The shape of each network's images.
SHAPES = {"cnn": (1, 28, 28), "resnet18": (3, 32, 32)}
# A step is timed after a warm-up, for so many seconds or steps.
WARMUP, MOST_STEPS, SECONDS = 25, 500, 0.7


@dataclass(frozen=True)
class Setup:
    """The settings of a training; `words` are arguments of nnrun's command line."""

    network: str = "cnn"
    precision: str = "bf16"
    words: tuple[str, ...] = ()
    ema: bool = False
    skip: bool = False
    clip: float | None = None
    accumulate: int = 1
    residency: str = "device"
    num_workers: int = 0
    deterministic: bool = False
    channels_last: bool = True
    batch_size: int = 64
    batchnorm: bool = False
    cuda_graph: bool = False
    compiled: bool = False
    recompute: bool = False


def make_network(name: str, batchnorm: bool = False) -> nn.Module:
    """Return the tutorials' CNN or ResNet-18."""
    torch.manual_seed(0)
    if name == "resnet18":
        from torchvision.models import resnet18

        return resnet18(num_classes=NUM_CLASSES)
    from nnrun.components.models.cnn import CNN

    return CNN(SHAPES[name], NUM_CLASSES, [32, 64], 128, 0.5, batchnorm=batchnorm)


def noise(network: str, num_samples: int) -> Split:
    """Return random images and targets; they repeat after 1,024."""
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randint(256, (1024, *SHAPES[network]), generator=draws, dtype=torch.uint8)
    targets = torch.randint(NUM_CLASSES, (1024,), generator=draws)
    chosen = torch.arange(num_samples) % 1024
    return Split(inputs[chosen], targets[chosen])


def make_training(
    setup: Setup, device: torch.device, num_steps: int, callbacks: Sequence[Callback] = ()
) -> tuple[TrainState, Work, Plan]:
    """Return a training of `num_steps` steps in one epoch."""
    set_deterministic(setup.deterministic)
    set_exact()
    shape = SHAPES[setup.network]
    tree = compose([*setup.words]).resolved(known_late(shape, Targets.classes(list(map(str, range(NUM_CLASSES))))))
    network = make_network(setup.network, setup.batchnorm).to(device)
    if setup.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    problem = Classification(Targets.classes([str(number) for number in range(NUM_CLASSES)]))
    objective = Objective(problem, CrossEntropy())
    layout = Layout(device, setup.channels_last, setup.residency, setup.num_workers)
    split = noise(setup.network, setup.batch_size * setup.accumulate * num_steps)
    scaling = Normalize((0.5,) * shape[0], (0.25,) * shape[0])
    augmenter = make_augmenter(tree["augment"], 0, device)
    train = SplitBatches(samples_at(split, layout), scaling, setup.batch_size, 0, augmenter)
    parameters: list[Any] = list(network.parameters())
    optimizer = make_optimizer(tree["optimizer"], parameters)
    scheduler = make_scheduler(tree["scheduler"], optimizer, num_steps, "max")
    precision = Precision(setup.precision, "as asked")
    state = TrainState(
        network=network,
        optimizer=optimizer,
        schedule=Schedule(scheduler, "valid/loss") if scheduler else None,
        scaler=make_scaler(precision, device),
        ema=Ema(network, 0.99) if setup.ema else None,
        device=device,
        precision=precision,
        seed=0,
        sums=problem.train_metric.init(device),
        watch=SkippingWatch(100) if setup.skip else FiniteWatch(),
    )
    step = (SkippingStep if setup.skip else Step)(state, objective, setup.clip, callbacks)
    if setup.recompute:
        state.train_module = Recomputing(network, layers_to_recompute(network, True), device)
    if setup.compiled:
        compile_network(state, train.take(train.order(0)[0])[0])
    plan = Plan(1, num_steps, setup.accumulate, log_every_steps=10**9)
    work = Work(objective, step, train, None, callbacks)
    return state, _captured(work, step, train, device) if setup.cuda_graph else work, plan


def _captured(work: Work, step: Step, train: SplitBatches, device: torch.device) -> Work:
    """Return the work with its step captured; raise RuntimeError if that cannot be."""

    def give_up(why: str) -> None:
        raise RuntimeError(f"not captured: {why}")

    generators = [train.augmenter.generator] if train.augmenter else []
    captured_step = CapturedStep(step, train, CudaRecorder(device, generators), give_up)
    return replace(work, step=captured_step, train=captured_step.rows)


class Window(Callback):
    """Call `begin` after the last warm-up step, and `end` after the last measured step."""

    def __init__(self, warmup: int, steps: int, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self.last_step = warmup + steps
        self._calls = {warmup: begin, self.last_step: end}

    def on_step_end(self, state: TrainState) -> None:
        """Call the one that is due."""
        self._calls.get(state.progress.step, lambda: None)()


def run_window(setup: Setup, device: torch.device, window: Window) -> TrainState:
    """Train through a window, and one step more."""
    state, work, plan = make_training(setup, device, window.last_step + 1, [window])
    train_epoch(state, work, plan)
    return state


class Timed(Callback):
    """Time the steps after a warm-up, until enough seconds have passed; the last step ends the training."""

    def __init__(self, place: Place) -> None:
        self._warmup, self._place = place.steps(WARMUP), place
        self.seconds_a_step = 0.0

    def on_step_end(self, state: TrainState) -> None:
        """Begin, or end if it is time: the device is waited for only then."""
        count = state.progress.step - self._warmup
        if count == 0:
            self._start = self._place.now()
        elif count == self._place.steps(MOST_STEPS) or (count > 0 and time.perf_counter() - self._start > SECONDS):
            self.seconds_a_step = (self._place.now() - self._start) / count
            raise EnoughError


class EnoughError(Exception):
    """The steps were timed."""


def num_steps(place: Place) -> int:
    """Return for how many steps a timed training has samples."""
    return place.steps(WARMUP) + place.steps(MOST_STEPS) + 1


def noise_bytes(setup: Setup, place: Place) -> int:
    """Return the bytes of the samples of a timed training."""
    return setup.batch_size * num_steps(place) * prod(SHAPES[setup.network])


def seconds_a_step(setup: Setup, place: Place) -> float:
    """Return the seconds of a training's step, after a warm-up."""
    timed = Timed(place)
    state, work, plan = make_training(setup, place.device, num_steps(place), [timed])
    with contextlib.suppress(EnoughError):
        train_epoch(state, work, plan)
    return timed.seconds_a_step


def seconds_a_call(call: Callable[[], None], place: Place) -> float:
    """Return the seconds of a call, after a warm-up."""
    for _ in range(place.steps(WARMUP)):
        call()
    count, start = 0, place.now()
    while count < place.steps(MOST_STEPS) and time.perf_counter() - start < SECONDS:
        call()
        count += 1
    return (place.now() - start) / count


def compute_as_nnrun() -> None:
    """Let bare steps, too, compute fp32 in fp32, with the fastest kernels that cuDNN finds."""
    set_deterministic(False)
    set_exact()


def bare_step(
    network: str, device: torch.device, precision: str, batch_size: int = 64, *, capturable: bool = False
) -> Callable[[], None]:
    """Return a bare step on one batch that is already on the device: the floor for any loop."""
    # mypy knows no memory_format in Module.to
    model = make_network(network).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), fused=True, capturable=capturable)
    split = noise(network, batch_size)
    inputs = (split.inputs.to(device).float() / 255).contiguous(memory_format=torch.channels_last)
    targets = split.targets.to(device)

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = nn.functional.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
