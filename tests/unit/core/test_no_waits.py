"""No step waits for the device: the training step and the evaluation on fake CUDA tensors, which need no GPU.

Fake tensors have shapes and devices and no values: to read a value of theirs raises, to mix devices raises, and so does
a copy between the host and the device that the host waits for. All cases are run in a process of their own, since much
of torch is replaced, and without garbage collection, in which fake tensors of several modes have crashed torch 2.14.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import math
import os
import traceback
import warnings
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
import torch.cuda.amp.common
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.amp import grad_scaler
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode, _pop_mode

import nnrun.core.captured_step
import nnrun.core.step
from nnrun.assembly.training import make_augmenter
from nnrun.base.targets import Targets
from nnrun.cli import compose
from nnrun.components.callbacks.watching import Watching
from nnrun.components.data import normalize
from nnrun.components.data.normalize import Normalize
from nnrun.components.losses.bce import BinaryCrossEntropy
from nnrun.components.losses.cross_entropy import CrossEntropy
from nnrun.components.losses.focal import Focal
from nnrun.components.losses.huber import Huber
from nnrun.components.losses.mse import SquaredError
from nnrun.components.models.cnn import CNN
from nnrun.components.optimizers.muon import MuonWithAdamW
from nnrun.components.problems.classification import Classification
from nnrun.components.problems.multilabel import Multilabel
from nnrun.components.problems.regression import Regression
from nnrun.components.schedulers.cosine import WarmupCosine
from nnrun.config.interpolation import known_late
from nnrun.core.batches import SplitBatches
from nnrun.core.captured_evaluation import Recording
from nnrun.core.device import Precision
from nnrun.core.ema import Ema
from nnrun.core.evaluate import evaluate
from nnrun.core.loop import train_epoch
from nnrun.core.nonfinite import FiniteWatch, SkippingWatch
from nnrun.core.objective import Objective
from nnrun.core.plan import Plan
from nnrun.core.residency import Layout, samples_at
from nnrun.core.schedule import Schedule
from nnrun.core.seams.callback import Callback
from nnrun.core.seams.data import Split
from nnrun.core.skipping_step import SkippingStep
from nnrun.core.state import TrainState
from nnrun.core.step import Step
from nnrun.core.work import Work

CUDA = torch.device("cuda", 0)
NUM_SAMPLES, BATCH_SIZE = 40, 16
ADAM = {"name": "Adam", "fused": True}


class NoBlockingCopies(TorchDispatchMode):
    """Refuse a copy between the host and the device that the host waits for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, kwargs = func._schema.name, kwargs or {}
        waits = False
        if name == "aten::_to_copy":
            target = kwargs.get("device") or args[0].device
            waits = torch.device(target).type != args[0].device.type and not kwargs.get("non_blocking")
        elif name == "aten::copy_":
            waits = args[0].device.type != args[1].device.type and not (*args[2:], kwargs.get("non_blocking"))[0]
        if waits:
            raise AssertionError(f"{name} waits for the device")
        return func(*args, **kwargs)


class WatchCopies(Callback):
    """Watch the steps, but not what happens before the first one and after the last one."""

    def __init__(self, last_step: int) -> None:
        self.last_step = last_step
        self.mode = NoBlockingCopies()

    def on_step_end(self, state) -> None:
        if state.progress.step == 1:
            self.mode.__enter__()
        if state.progress.step == self.last_step:
            self.mode.__exit__(None, None, None)


def fake_scaler() -> torch.amp.GradScaler:
    """A scaler that does not notice that there is no GPU."""
    scaler = torch.amp.GradScaler("cuda", enabled=False)
    scaler._enabled = True
    vars(scaler).update(_init_scale=65536.0, _growth_factor=2.0, _backoff_factor=0.5, _growth_interval=2000)
    vars(scaler).update(_init_growth_tracker=0, _scale=None, _growth_tracker=None)
    scaler._per_optimizer_states = defaultdict(grad_scaler._refresh_per_optimizer_state)
    return scaler


def make_optimizer(network: nn.Module, name: str, **options) -> torch.optim.Optimizer:
    if name == "Muon":
        return MuonWithAdamW(network.parameters())
    return getattr(torch.optim, name)(network.parameters(), **options)


@contextlib.contextmanager
def fake_cuda():
    """Pretend that there is a GPU; only operations that fake tensors do not support are replaced."""

    def backward(loss, *args, **kwargs) -> None:
        # The autograd engine would start a thread for the device.
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)

    trained: list[nn.Parameter] = []
    with pytest.MonkeyPatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True):
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        patch.setattr(torch.cuda, "synchronize", lambda *_: None)
        for module in (nnrun.core.step, nnrun.core.captured_step):
            patch.setattr(module, "seed_step", lambda *_: None)
        patch.setattr(torch.Tensor, "backward", backward)
        # Constants that are cached on a device after the first batch would be made anew for each call on fake tensors.
        patch.setattr(normalize, "_channel_tensors", functools.cache(normalize._channel_tensors))
        for name in ("_fused_sgd_", "_fused_adam_", "_fused_adamw_"):
            patch.setattr(torch, name, lambda *_, **__: None)
        yield trained


class WatchesLayers(Callback):
    """Watch each step but the first; only the rows, which are written after a step, are read."""

    def __init__(self) -> None:
        self.watching = Watching(("gradients", "activations", "weights", "updates"), 1, None, {})
        self.num_watched = 0

    def on_gradients_ready(self, state) -> None:
        if state.progress.step:
            self.watching.on_gradients_ready(state)
            self.num_watched += len(self.watching._found) > 3

    def on_step_end(self, state) -> None:
        if state.progress.step == 1:
            self.watching.on_fit_start(state)
        else:
            assert self.num_watched == state.progress.step - 1
        self.watching._found = {}
        self.watching.mark("begin")


def records_nothing(work) -> None:
    """So that the step to capture is made without a recording, with all its numbers on the device."""
    raise NotImplementedError


def works_twice(work):
    with NoBlockingCopies():
        work()
        work()
    return work


def take_steps(trained: list[nn.Parameter], case: SimpleNamespace) -> TrainState:
    """Train an epoch of the CNN, and evaluate it, as a case says."""
    channels = case.channels
    problem = case.problem(Targets(case.problem.kind, tuple("0123456789")))
    is_classes = problem.kind == "classes"
    targets = torch.zeros(NUM_SAMPLES, dtype=torch.int64) if is_classes else torch.zeros(NUM_SAMPLES, 10)
    split = Split(torch.zeros((NUM_SAMPLES, channels, 28, 28), dtype=torch.uint8), targets)
    objective = Objective(problem, case.loss())
    scaling, layout = Normalize((0.1,) * channels, (0.3,) * channels), Layout(CUDA, True, case.residency)
    augmenter = None
    if case.augment:
        known = known_late([channels, 28, 28], objective.problem.targets)
        sections = compose([f"augment={case.augment}"]).resolved(known)["augment"]
        augmenter = make_augmenter(sections, 0, torch.device("cpu"))
        augmenter.generator, augmenter.seed = None, lambda *_: None
    train = SplitBatches(samples_at(split, layout), scaling, BATCH_SIZE, 0, augmenter)
    with torch.device(CUDA):
        network = CNN((channels, 28, 28), 10, [4, 8], 16, 0.5, batchnorm=True)
    trained += network.parameters()
    optimizer = make_optimizer(network, **case.optimizer)
    num_steps = math.ceil(train.num_batches / case.accumulate)
    state = TrainState(
        network=network,
        optimizer=optimizer,
        schedule=Schedule(WarmupCosine(optimizer, 9, 0.3), "valid/loss") if case.scheduler else None,
        scaler=fake_scaler() if case.fp16 else None,
        ema=Ema(network, 0.99) if case.ema else None,
        device=CUDA,
        precision=Precision("fp16" if case.fp16 else case.precision, "as asked"),
        seed=0,
        sums=objective.train_metric.init(CUDA),
        watch=SkippingWatch(10) if case.skip else FiniteWatch(),
    )
    if case.skip:
        # The first step of an optimizer without state waits, by design: make it here.
        torch.zeros(()).backward()
        optimizer.step()
        optimizer.zero_grad()
    state.watch.check = lambda: None
    callbacks = [*case.callbacks, WatchCopies(num_steps)]
    step = (SkippingStep if case.skip else Step)(state, objective, case.clip, callbacks)
    if case.captured:
        captured = nnrun.core.captured_step.CapturedStep(step, train, records_nothing)
        step, train = captured, captured.rows
    train_epoch(state, Work(objective, step, train, None, callbacks), Plan(1, 99, case.accumulate, 1000))
    assert state.progress.step == num_steps
    evaluate(state.eval_module, objective, SplitBatches(samples_at(split, layout), scaling, 50))
    if case.captured:
        # Two batches, the second padded.
        Recording(state.eval_module, objective, SplitBatches(samples_at(split, layout), scaling, 25)).record(
            works_twice
        )
    return state


_SWITCHES = ("ema", "skip", "clip", "fp16", "augment", "scheduler", "captured")


def case(**options) -> SimpleNamespace:
    defaults = {"precision": "bf16", "optimizer": ADAM, "loss": CrossEntropy, "residency": "device", "channels": 1}
    defaults["problem"] = Classification
    more = {"accumulate": 1, "callbacks": []} | dict.fromkeys(_SWITCHES)
    return SimpleNamespace(**defaults | more | options)


def sgd(momentum: float, fused: bool = True):
    return {"name": "SGD", "lr": 0.1, "momentum": momentum, "fused": fused}


CASES = {
    "plain": case(),
    "fp32": case(precision="fp32"),
    "accumulate, scheduler": case(accumulate=2, scheduler=True),
    "clip, ema": case(clip=1.0, ema=True),
    "skip, ema, clip": case(skip=True, ema=True, clip=1.0),
    "skip, accumulate": case(skip=True, accumulate=2),
    "memory": case(residency="memory"),
    "fp16, clip, ema": case(fp16=True, clip=1.0, ema=True),
    "fp16, skip": case(fp16=True, skip=True, ema=True),
    "smoothed and weighted": case(loss=lambda: CrossEntropy(0.1, [1.0] * 10)),
    "focal": case(loss=lambda: Focal(2.0, [1.0] * 10)),
    "labels": case(problem=Multilabel, loss=lambda: BinaryCrossEntropy([2.0] * 10, 0.1)),
    "labels, skip, mixup": case(problem=Multilabel, loss=BinaryCrossEntropy, skip=True, augment="mixup", channels=3),
    "values": case(problem=Regression, loss=Huber),
    "values, skip, mixup": case(problem=Regression, loss=SquaredError, skip=True, augment="mixup", channels=3),
    "watched": case(callbacks=[WatchesLayers()], clip=1.0),
    "watched, skip, fp16": case(callbacks=[WatchesLayers()], skip=True, fp16=True),
    "muon": case(optimizer={"name": "Muon"}),
    "muon, skip": case(optimizer={"name": "Muon"}, skip=True),
    "muon, fp16": case(optimizer={"name": "Muon"}, fp16=True),
    "adagrad": case(optimizer={"name": "Adagrad", "foreach": True}),
    "sgd, skip": case(optimizer=sgd(0.0), skip=True),
    "sgd with momentum, skip": case(optimizer=sgd(0.9), skip=True),
    "sgd unfused, skip": case(optimizer=sgd(0.0, fused=False), skip=True),
    "sgd unfused with momentum, skip": case(optimizer=sgd(0.9, fused=False), skip=True),
    "adam unfused, skip": case(optimizer={"name": "Adam", "foreach": True}, skip=True),
    "captured": case(captured=True),
    "captured, accumulate, scheduler": case(captured=True, accumulate=2, scheduler=True),
    "captured, skip, ema, clip": case(captured=True, skip=True, ema=True, clip=1.0),
    "captured, fp16, clip, ema": case(captured=True, fp16=True, clip=1.0, ema=True),
    "captured, sgd with momentum": case(captured=True, optimizer=sgd(0.9)),
    "captured, muon": case(captured=True, optimizer={"name": "Muon"}),
    "captured, adam unfused": case(captured=True, optimizer={"name": "Adam", "foreach": True}),
    "captured, mixup": case(captured=True, augment="mixup", channels=3),
}
for _name in ("RAdam", "NAdam", "RMSprop"):
    CASES[_name] = case(optimizer={"name": _name})
    CASES[f"{_name}, skip"] = case(optimizer={"name": _name}, skip=True)
    if _name != "RMSprop":  # its division by a learning rate on the device is unknown to fake tensors
        CASES[f"captured, {_name}"] = case(optimizer={"name": _name}, captured=True)
for _name in ("crop_flip", "digits", "erasing", "mixup", "cutmix", "color", "trivialaugment"):
    CASES[_name] = case(augment=_name, channels=3)


class ReadsTheLoss(Callback):
    def on_gradients_ready(self, state) -> None:
        state.sums["loss"].item()


class MixesDevices(Callback):
    def on_gradients_ready(self, state) -> None:
        state.network(torch.zeros(2, 1, 28, 28, device="cpu"))


class CopiesToTheHost(Callback):
    def on_gradients_ready(self, state) -> None:
        next(state.network.parameters()).to("cpu")


class CopiesToTheDevice(Callback):
    def on_gradients_ready(self, state) -> None:
        next(state.network.parameters()).detach().copy_(torch.zeros((), device="cpu"))


# Waits that must be caught, and what reveals each. Adagrad, not fused on CUDA, counts its steps on the host.
CAUGHT = {
    "reads": (case(callbacks=[ReadsTheLoss()]), "_local_scalar_dense"),
    "mixes": (case(callbacks=[MixesDevices()]), "device"),
    "copies to the host": (case(callbacks=[CopiesToTheHost()]), "waits for the device"),
    "copies to the device": (case(callbacks=[CopiesToTheDevice()]), "waits for the device"),
    "adagrad, skip": (case(optimizer={"name": "Adagrad", "foreach": True}, skip=True), "_local_scalar_dense"),
}


def outcome_of(one: SimpleNamespace) -> str:
    """Return what went wrong in a case; an empty result if nothing did."""
    try:
        with fake_cuda() as trained:
            take_steps(trained, one)
    except Exception as error:
        while _get_current_dispatch_mode() is not None:
            _pop_mode()
        return "".join(traceback.format_exception(error)[-12:])
    return ""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str]:
    """The result of each case, up to a crash if there was one."""
    path = tmp_path_factory.mktemp("fake") / "outcomes.jsonl"
    child = os.fork()
    if child == 0:
        gc.disable()
        warnings.simplefilter("ignore")
        with path.open("w") as file:
            for name, one in (CASES | {name: one for name, (one, _) in CAUGHT.items()}).items():
                file.write(json.dumps([name, outcome_of(one)]) + "\n")
                file.flush()
        os._exit(0)
    os.waitpid(child, 0)
    return dict(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize("name", CASES)
def test_no_step_and_no_evaluation_waits_for_the_device(outcomes, name):
    assert outcomes.get(name, "a case before it crashed the process") == ""


@pytest.mark.parametrize("name", CAUGHT)
def test_negative_control_a_step_that_waits_is_caught(outcomes, name):
    assert CAUGHT[name][1] in outcomes[name]
