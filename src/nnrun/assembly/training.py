"""Build a training from its config: the network, optimizer, schedule, batches, length, callbacks and loggers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nnrun.assembly.allowed import parameters_of
from nnrun.assembly.capture import wants_capture
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.instantiate import build, notes_on_network
from nnrun.assembly.job import Job
from nnrun.assembly.network import read_by, to_device
from nnrun.assembly.objective import counts_for_loss
from nnrun.assembly.recomputation import recompute, wanted_recompute
from nnrun.assembly.sharding import choose_strategy, layers_to_gather
from nnrun.assembly.skeleton import build_network, check_room
from nnrun.assembly.transfer import (
    Groups,
    Transfer,
    load_pretrained,
    members,
    parameter_groups,
    plan_transfer,
    scale_rates,
)
from nnrun.base.errors import ConfigError
from nnrun.base.targets import SINGULAR, Targets
from nnrun.base.visible import few
from nnrun.components.callbacks.own import OwnCallback
from nnrun.config.no_effect import of_steps
from nnrun.config.schema import RunSettings, TrainerSettings
from nnrun.config.tree import is_within
from nnrun.core.augmenter import Augmenter
from nnrun.core.batches import SplitBatches
from nnrun.core.compile import Compilation, choose_compile
from nnrun.core.device import Precision, choose_channels_last, has_fused_kernel
from nnrun.core.ema import Ema
from nnrun.core.laps import unmarked
from nnrun.core.named_inputs import taking_names
from nnrun.core.nonfinite import FiniteWatch, SkippingWatch
from nnrun.core.objective import Objective
from nnrun.core.plan import Plan
from nnrun.core.randomness import seed_weights
from nnrun.core.residency import Layout, choose_residency, samples_at
from nnrun.core.schedule import Schedule
from nnrun.core.seams.batch import Augmentation, Batches, Mixing
from nnrun.core.seams.callback import Callback
from nnrun.core.seams.training import Logger
from nnrun.core.seams.world import World
from nnrun.core.skipping_step import SkippingStep
from nnrun.core.state import TrainState
from nnrun.core.step import Step
from nnrun.core.synced_norm import count_norms, synced
from nnrun.core.without_compiler import spare_compiler

# The number of samples that are examined for the range of their values.
_NUM_LOOKED_AT = 1000
# The maximum number of classes that a note lists.
_NUM_NAMED = 20


@dataclass(frozen=True)
class Training:
    """The arguments of fit(), the config with everything set, and the callbacks and loggers."""

    state: TrainState
    plan: Plan
    train: Batches
    valid: Batches | None
    tree: dict[str, Any]
    callbacks: dict[str, Callback]
    loggers: dict[str, Logger]
    compilation: Compilation
    transfer: Transfer
    notes: list[str]
    # With trainer.strategy=fsdp: the layers whose parameters are gathered apart from the rest.
    layers: list[str] | None = None


def make_training(job: Job, data: Opened, objective: Objective, world: World | None = None) -> Training:
    """Build the network and everything that trains it, on the device; `world` has the ranks, if there are several."""
    world = world or World()
    settings, trainer = job.settings, job.settings.trainer
    tree = job.tree(data.known, data.became)
    if "balanced" in tree["loss"].values():
        # Saved with the run: the loss stays the same, whatever data a checkpoint is evaluated on.
        tree["loss"] |= counts_for_loss(tree["loss"], data)
    seed_weights(settings.seed)
    network = _network(job, tree["model"])
    strategy = choose_strategy(job, network, world)
    # What is to be divided need not fit on the device as a whole.
    home, in_place = (torch.device("cpu"), False) if strategy.divides else (job.device, trainer.channels_last)
    network, channels_last = to_device(network, home, in_place, job.precision)
    evaluated_so = choose_channels_last(trainer.channels_last, network, job.device, job.precision)
    if trainer.sync_batchnorm and world.size > 1:
        if not count_norms(network):
            raise ConfigError("trainer.sync_batchnorm=true has no effect: the network has no BatchNorm; leave it out")
        network = synced(network, world)
    notes = [*notes_on_network(tree["model"]), *objective.notes, *lists_by_class(tree["loss"], data.targets)]
    transfer = plan_transfer(settings.transfer, network, data.targets)
    if settings.transfer.weights is not None and not job.resume and settings.ckpt is None:
        notes.append(load_pretrained(transfer, job.pretrained, tree["model"], network, data.targets))
    residency = choose_residency(settings.data.residency, data.num_bytes, job.device)
    layout = Layout(job.device, channels_last, residency, settings.data.num_workers, world)
    read = replace(data, preprocessing=read_by(network, data.preprocessing))
    train, valid = _batches(read, settings, layout, make_augmenter(tree["augment"], settings.seed, job.device))
    plan = make_plan(trainer, train.num_batches, is_validated=valid is not None)
    steps_per_epoch = -(-train.num_batches // trainer.accumulate)
    if idle := of_steps(job.composed.typed, tree, steps_per_epoch, plan.total_steps):
        raise ConfigError(*idle)
    ema = Ema(network, trainer.ema_decay) if trainer.ema_decay is not None else None
    for watched in (network, *([ema.network] if ema else [])):
        objective.loss.watch(watched, data.targets.num_outputs, settings.transfer.head)
    compilation = choose_compile(_compile_wanted(job), job.device, plan.total_steps)
    some_late = transfer.freezing.until_epoch is not None
    optimizer = make_optimizer(tree["optimizer"], parameter_groups(network, transfer), some_late=some_late)
    schedule = _schedule(job, tree["scheduler"], optimizer, plan, is_validated=valid is not None)
    tree["trainer"] |= {
        "compile": compilation.enabled,
        "strategy": strategy.setting,
        "cuda_graph": wants_capture(job, plan.total_steps),
        "channels_last": evaluated_so if strategy.divides else channels_last,
    }
    tree["data"]["residency"] = residency
    state = TrainState(
        network=network,
        optimizer=optimizer,
        schedule=schedule,
        scaler=make_scaler(job.precision, job.device),
        ema=ema,
        device=job.device,
        precision=job.precision,
        seed=settings.seed,
        sums=objective.train_metric.init(job.device),
        watch=SkippingWatch(trainer.max_nonfinite) if trainer.nonfinite == "skip" else FiniteWatch(world),
        world=world,
        freezing=transfer.freezing,
    )
    state.set_training()
    recomputed = recompute(wanted_recompute(job), state, train)
    tree["trainer"]["recompute"] = recomputed.setting
    notes += [recomputed.note] if recomputed.note else []
    notes += [strategy.note] if strategy.note else []
    callbacks, loggers = _callbacks(tree["callback"]), _loggers(tree["logger"])
    layers = layers_to_gather(network, train) if strategy.divides else None
    return Training(state, plan, train, valid, tree, callbacks, loggers, compilation, transfer, notes, layers)


def _callbacks(sections: Mapping[str, Any]) -> dict[str, Callback]:
    """Return the callbacks of a config, by name."""
    return {name: OwnCallback(name, build(each, f"callback.{name}", Callback)) for name, each in sections.items()}


def _loggers(sections: Mapping[str, Any]) -> dict[str, Logger]:
    """Return the loggers of a config, by name."""
    return {name: build(each, f"logger.{name}", Logger) for name, each in sections.items()}  # type: ignore[type-abstract]


def _schedule(
    job: Job, section: Mapping[str, Any] | None, optimizer: Optimizer, plan: Plan, *, is_validated: bool
) -> Schedule | None:
    """Return the schedule of a config, if it has one; raise ConfigError where it needs a validation that is missing."""
    scheduler = make_scheduler(section, optimizer, plan.total_steps, job.mode)
    if scheduler is None:
        return None
    schedule = Schedule(scheduler, job.monitor)
    schedule.check(is_validated=is_validated)
    return schedule


def _batches(
    data: Opened, settings: RunSettings, layout: Layout, augmenter: Augmenter | None
) -> tuple[SplitBatches, SplitBatches | None]:
    """Return the batches of the training split, and those of the validation split, if there is one."""
    batch_size, eval_batch_size = settings.data.batch, settings.data.eval_batch_size
    train = SplitBatches(samples_at(data.train, layout), data.preprocessing, batch_size, settings.seed, augmenter)
    if augmenter is not None:
        augmenter.check_range(data.train.take(torch.arange(min(len(data.train), _NUM_LOOKED_AT)))[0])
    valid = SplitBatches(samples_at(data.valid, layout), data.preprocessing, eval_batch_size) if data.valid else None
    return train, valid


def _network(job: Job, section: Mapping[str, Any]) -> nn.Module:
    """Return the network; for a resumed or repeated run, check that it fits the weights of the checkpoint."""
    saved = job.composed.resumed or job.composed.repeated
    is_changed = job.composed.repeated is not None and any(is_within(it.key, "model") for it in job.composed.typed)
    if saved is None or is_changed or "model" in job.composed.own_targets:
        check_room(section)
        return taking_names(_with_known_shapes(build(section, "model", nn.Module)))
    return taking_names(build_network(section, saved.weights, saved.path))


def _with_known_shapes(network: nn.Module) -> nn.Module:
    """Return the network; raise ConfigError where a module of it (`nn.LazyLinear`) has yet to choose its shapes."""
    lazy = [name for name, tensor in network.state_dict(keep_vars=True).items() if is_lazy(tensor)]
    if lazy:
        raise ConfigError(
            f"model: the shape of {few(lazy)} is unknown until the network runs (a lazy module such as nn.LazyLinear); "
            "give the number of inputs: ${data.in_shape} has the shape of a sample"
        )
    return network


def lists_by_class(loss: Mapping[str, Any], targets: Targets) -> list[str]:
    """Return a note for each of the loss's lists with one number per class or label, with the name of each."""
    given = {key: values for key, values in loss.items() if not key.endswith("_counts") and isinstance(values, list)}
    notes = []
    for key, values in given.items():
        if len(values) == targets.num_outputs:
            pairs = [f"{value} for {name}" for name, value in zip(targets.names, values, strict=True)]
            more = ", ..." if len(pairs) > _NUM_NAMED else ""
            notes.append(f"loss.{key} by {SINGULAR[targets.kind]}: {', '.join(pairs[:_NUM_NAMED])}{more}")
    return notes


def _compile_wanted(job: Job) -> str | bool:
    """Return the setting; in a resumed run, `auto` keeps the value it had at the start, since bits depend on it."""
    wanted, resumed = job.settings.trainer.compile, job.composed.resumed
    return bool(resumed.config["trainer"]["compile"]) if resumed and wanted == "auto" else wanted


def make_step(
    trainer: TrainerSettings,
    state: TrainState,
    objective: Objective,
    callbacks: Sequence[Callback] = (),
    mark: Callable[[str], None] = unmarked,
) -> Step:
    """Return the object that takes the optimizer steps; it tells `mark` where each part of a step ends."""
    kind = SkippingStep if trainer.nonfinite == "skip" else Step
    return kind(state, objective, trainer.grad_clip_norm, callbacks, mark)


def make_plan(trainer: TrainerSettings, num_batches: int, *, is_validated: bool = True) -> Plan:
    """Return the length of the training: all epochs, or fewer steps if max_steps says so."""
    steps_per_epoch = -(-num_batches // trainer.accumulate)
    total_steps = trainer.epochs * steps_per_epoch
    if trainer.max_steps is not None:
        total_steps = min(total_steps, trainer.max_steps)
    return Plan(
        epochs=trainer.epochs,
        total_steps=total_steps,
        accumulate=trainer.accumulate,
        log_every_steps=trainer.log_every_steps,
        validate_every_steps=trainer.validate_every_steps if is_validated else None,
    )


def make_optimizer(section: Mapping[str, Any], parameters: Groups, *, some_late: bool = False) -> Optimizer:
    """Return the optimizer, with the fused kernel if the class has one and the config leaves `fused` null.

    With `some_late`, some parameters begin to train after the others.
    """
    spare_compiler()
    late: dict[str, Any] = {}
    has_choice = (
        section.get("fused", False) is None and not section.get("foreach") and not section.get("differentiable")
    )
    make = partial(build, section, "optimizer", Optimizer)
    if has_choice and has_fused_kernel(partial(make, fused=True), members(parameters), some_late=some_late):
        late["fused"] = True
    optimizer = make(parameters, **late)
    scale_rates(optimizer)
    return optimizer


def make_scheduler(
    section: Mapping[str, Any] | None, optimizer: Optimizer, total_steps: int, mode: str
) -> LRScheduler | None:
    """Return the schedule; parameters `total_steps` and `mode` that its config leaves null are set from the run."""
    if section is None:
        return None
    known = {"total_steps": max(total_steps, 1), "mode": mode}
    parameters = parameters_of(section["_target_"])
    late = {name: value for name, value in known.items() if name in parameters and section.get(name) is None}
    return build(section, "scheduler", LRScheduler, optimizer, **late)


def make_augmenter(sections: Mapping[str, Any], seed: int, device: torch.device) -> Augmenter | None:
    """Return the augmenter of training batches; None if nothing augments."""
    kinds = Augmentation | Mixing
    parts: dict[str, Any] = {name: build(section, f"augment.{name}", kinds) for name, section in sections.items()}
    return Augmenter(parts, seed, device) if parts else None


def make_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler | None:
    """Return the gradient scaler, if the precision needs one to keep small gradients from vanishing."""
    return torch.amp.GradScaler(device.type) if precision.scales_gradients else None
