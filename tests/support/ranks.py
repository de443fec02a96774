"""Small trainings in two processes, over gloo, and the same in one: what each writes, and where it ends."""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from nnrun.assembly.sharding import layers_to_gather
from nnrun.base.errors import DivergedError, InterruptedRun
from nnrun.components.callbacks.checkpointing import Checkpointing
from nnrun.components.callbacks.early_stopping import EarlyStopping
from nnrun.components.callbacks.loggers import Loggers
from nnrun.components.callbacks.metrics import MetricRows
from nnrun.core.loop import fit
from nnrun.core.process_group import ProcessGroup
from nnrun.core.seams.callback import Callback
from nnrun.core.seams.world import World
from nnrun.core.state import TrainState
from nnrun.core.synced_norm import synced
from nnrun.core.transfer.feature_cache import cache_features
from nnrun.core.transfer.freezing import Freezing
from nnrun.runs.console import Console
from support.small_training import Small, make_network, make_split


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a module that is the same on each rank."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


class Recurrent(nn.Module):
    """A layer that keeps a list of its parameters, called with a sequence of one."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.GRU(8, 8, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.inner(inputs.unsqueeze(1))[0]
        return outputs.squeeze(1)


class Tied(nn.Module):
    """Two blocks, and two layers with the same weights: one in a block, one beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(3)])
        self.last = nn.Linear(8, 8, bias=False)
        self.blocks[2][0].weight = self.last.weight

    def forward(self, inputs: Tensor) -> Tensor:
        for block in self.blocks:
            inputs = block(inputs)
        return self.last(inputs)


NETWORKS: dict[str, Callable[[], Sequence[nn.Module]]] = {
    "plain": lambda: (nn.Tanh(),),
    "dropout": lambda: (nn.Dropout(0.5),),
    "batchnorm": lambda: (nn.BatchNorm1d(8), nn.Tanh()),
    "tied": lambda: (_seeded(Tied),),
    "recurrent": lambda: (_seeded(Recurrent),),
}


class WithoutSums(ProcessGroup):
    """The negative control: each rank learns from its own samples alone."""

    def sum_gradients(self, network: nn.Module) -> None:
        pass


@dataclass(frozen=True)
class Case:
    """A training: a network, what Small is given, and what happens to it."""

    network: str = "plain"
    options: Mapping[str, Any] = field(default_factory=dict)
    # The sample whose values are NaN: in one rank's slice of a batch.
    bad_sample: int | None = None
    # The rank that hears a signal, and at which of its polls; the training is then resumed from what it saved.
    stop_at: tuple[int, int] | None = None
    patience: int | None = None
    is_summed: bool = True
    keeps_features: bool = False
    # Whether BatchNorm uses the samples of both ranks.
    is_synced: bool = False
    # Whether each rank has a part of the parameters; and after resuming.
    is_divided: bool = False
    resumes_divided: bool = False
    # The negative control: each rank clips by the norm of what it has.
    norms_of_parts: bool = False
    # The parameters that train from the second epoch on only.
    late: frozenset[str] = frozenset()
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None


@dataclass
class Result:
    """How a training ended: in which words, at which step; its weights; and what this process wrote."""

    end: str
    step: int
    weights: Tensor
    evaluated: Tensor
    rows: list[dict[str, Any]]
    saved: list[int]
    stopped_at: int | None = None
    # Of parameters and optimizer state, in this rank and of all; the state of the optimizer at the end.
    num_bytes: tuple[int, int] = (0, 0)
    optimizer: dict[str, Any] = field(default_factory=dict)


class _Written:
    """In the place of a run's folder."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.saved: list[int] = []
        self.manifest = SimpleNamespace(last=None)

    def add_row(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))

    def cut_rows(self, num_rows: int) -> None:
        del self.rows[num_rows:]

    def save(self, payload: object, step: int, *, is_best: bool) -> None:
        self.saved.append(step)

    def check_room(self) -> None:
        pass


def _stop_at(poll: int | None) -> Callable[[], None]:
    """Return a poll that hears a signal the given time it is asked."""
    left = poll

    def counted() -> None:
        nonlocal left
        left = None if left is None else left - 1
        if left == 0:
            raise InterruptedRun(signal.SIGTERM)

    return counted


def _make(case: Case, world: World, written: _Written, poll: Callable[[], None]) -> tuple[Small, Checkpointing]:
    """Return the training of a case, and the one of its callbacks that saves."""
    callbacks: list[Callback] = []
    every = case.options.get("log_every_steps", 2)
    network = make_network(*NETWORKS[case.network]())
    training = Small(
        network=synced(network, world) if case.is_synced and world.size > 1 else network,
        valid=make_split(9, seed=1),
        callbacks=callbacks,
        poll=poll,
        world=world,
        **{"log_every_steps": every, **case.options},
    )
    if case.optimizer is not None:
        training.state.optimizer = case.optimizer(list(training.network.parameters()))
    training.state.freezing = Freezing(case.late, 1)
    if case.bad_sample is not None:
        training.split.inputs[case.bad_sample] = torch.nan
    saving = Checkpointing(written, None, lambda state: state.state_dict())  # type: ignore[arg-type]
    callbacks += [
        MetricRows(written, training.objective, every, Loggers(Console())),
        EarlyStopping("valid/loss", "min", case.patience, 0.0),
        saving,
    ]
    return training, saving


def _of_the_first(state: TrainState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what the first rank saves, on every rank."""
    saved = [state.world.whole(state.evaluated), state.state_dict()]
    if state.world.size > 1:
        dist.broadcast_object_list(saved, 0)
    return saved[0], saved[1]


def _divide(training: Small) -> None:
    """Divide a training among the ranks, as a run with trainer.strategy=fsdp does."""
    world = training.state.world
    if world.size > 1:
        assert isinstance(world, ProcessGroup)
        from nnrun.core.sharded import shard

        shard(training.state, world, layers_to_gather(training.network, training.work.train))


def _bytes_of(state: TrainState) -> tuple[int, int]:
    """Return the bytes of parameters, average and optimizer state: in this rank, and of all."""
    parts: list[Tensor] = list(state.world.own(state.network).values())
    if state.ema:
        parts += state.world.own(state.ema.network).values()
    kept = [value for entry in state.optimizer.state.values() for value in entry.values() if value.dim() > 0]
    here = sum(each.numel() * each.element_size() for each in [*parts, *kept])
    # Of uneven rows the last rank has the fewest.
    total = torch.tensor(here)
    state.world.sum([total])
    return here, int(total)


def train_case(case: Case, world: World) -> Result:
    """Train a case to its end in this process."""
    written = _Written()
    poll = case.stop_at[1] if case.stop_at and case.stop_at[0] == world.rank else None
    training, saving = _make(case, world, written, _stop_at(poll))
    stopped_at, end = None, "done"
    if case.is_divided:
        _divide(training)
    if case.norms_of_parts:
        training.state.world.norm = World().norm  # type: ignore[method-assign]
    if case.keeps_features:
        training.state.freezing = Freezing(("0.weight", "0.bias"), None)
        train, valid = cache_features(training.state, "2", training.work.train, training.work.valid, lambda: None)
        training.work = replace(training.work, train=train, valid=valid)
    try:
        try:
            fit(training.state, training.work, training.plan)
        except InterruptedRun:
            saving.finish(training.state)
            stopped_at = training.state.progress.step
            model, saved = _of_the_first(training.state)
            training, _ = _make(case, world, written, lambda: None)
            training.state.load_state_dict(model, saved)
            if case.resumes_divided:
                _divide(training)
            fit(training.state, training.work, training.plan)
    except DivergedError as error:
        end = str(error)
    state = training.state
    names = [name for name, _ in state.network.named_parameters()]
    wholes = [state.world.whole(network) for network in (state.network, state.evaluated)]
    vectors = [torch.cat([whole[name].detach().reshape(-1) for name in names]) for whole in wholes]
    optimizer = state.world.whole_optimizer(state.optimizer)
    return Result(
        end, state.progress.step, *vectors, written.rows, written.saved, stopped_at, _bytes_of(state), optimizer
    )


def _run(rank: int, cases: Mapping[str, Case], folder: Path) -> None:
    """Be a rank: train every case."""
    torch.set_num_threads(1)
    store = next(dist.rendezvous(f"file://{folder}/meeting", rank, 2))[0]
    world = ProcessGroup(store, rank, 2, "gloo")
    without = copy.copy(world)
    without.__class__ = WithoutSums
    results = {name: train_case(case, world if case.is_summed else without) for name, case in cases.items()}
    torch.save(results, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
    # Without Python's own way out: on a busy machine torch's threads sometimes outlive it and abort the process.
    os._exit(0)


def train_in_two_processes(cases: Mapping[str, Case], folder: Path) -> dict[str, tuple[Result, Result]]:
    """Return how each case ended in two processes that train it together, by its name."""
    mp.spawn(_run, (dict(cases), folder), nprocs=2)
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1))
    return {name: (first[name], second[name]) for name in cases}
