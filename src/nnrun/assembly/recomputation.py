"""What `trainer.recompute` means for a training, and what it saves and costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils._pytree import tree_map

from nnrun.assembly.job import Job
from nnrun.assembly.sharding import on_place
from nnrun.base.errors import ConfigError
from nnrun.base.host import available_bytes
from nnrun.base.shown import counted
from nnrun.base.visible import few
from nnrun.core.device import free_bytes
from nnrun.core.seams.batch import Batches
from nnrun.core.state import TrainState

# The part of a GPU's free memory that a step may take: its kernels need more for a moment than is counted.
_PART = 0.8
_AUTO = "auto"
# What is needed still, from which on recomputing saves next to nothing.
_LITTLE = 0.95


@dataclass(frozen=True)
class Recomputation:
    """Which layers compute their activations again, in the form of the setting, and a line about it."""

    setting: bool | str | list[str]
    note: str | None = None


def wanted_recompute(job: Job) -> bool | str | list[str]:
    """Return the setting; in a resumed run, `auto` keeps what it was at the start."""
    wanted, resumed = job.settings.trainer.recompute, job.composed.resumed
    return resumed.config["trainer"]["recompute"] if resumed and wanted == _AUTO else wanted


def recompute(wanted: bool | str | list[str], state: TrainState, train: Batches) -> Recomputation:
    """Let a training compute the activations of some layers again, if that is wanted; return what was decided.

    Needs and savings are measured on a few samples. `auto` decides by the memory that is free now. Raises ConfigError
    where layers that are named are not there, or are not called.
    """
    if wanted is False:
        return Recomputation(setting=False)
    # Only such a training needs them: they import torch's compiler.
    from nnrun.core.recompute import Recomputing, layers_to_recompute  # noqa: PLC0415
    from nnrun.core.recompute_cost import Passes, bytes_of_step, is_short  # noqa: PLC0415

    network, device = state.network, state.device
    rows = train.order(0)[0]
    # A network that is to be divided among processes is on the host.
    place = next((each.device for each in network.parameters()), device)

    def take(number: int) -> Any:
        return tree_map(partial(on_place, place), train.take(rows[:number])[0])

    passes = Passes(network, take, len(rows), place, state.precision, state.seed)
    kept = passes.need(network)
    if wanted == _AUTO:
        needed, free = bytes_of_step(kept, network), _spare(device)
        room = (
            f"a step needs up to {_size(needed)} beside the weights (measured with 8 samples), {_size(free)} are free"
        )
        if not is_short(needed, free):
            return Recomputation(setting=False, note=f"all activations are kept: {room}")
    names = layers_to_recompute(network, True if wanted == _AUTO else wanted)
    never, drawing = passes.calls(names)
    if never and wanted not in (True, _AUTO):
        raise ConfigError(f"trainer.recompute: {few(never)} is never called as a layer; name others")
    names = [name for name in names if name not in never]
    recomputing = Recomputing(network, names, device)
    recomputing.drawing = drawing
    less = passes.need(recomputing)
    state.train_module = recomputing
    more = f", and {less.flops / kept.flops - 1:.0%} more FLOPs" if kept.flops else ""
    note = (
        f"activations of {counted(len(names), 'layer')} are computed again ({few(names)}): a batch of {len(rows)} "
        f"needs up to {_size(less.num_bytes)} beside the weights instead of {_size(kept.num_bytes)}{more} "
        "(measured with 8 samples)"
    )
    if less.num_bytes > _LITTLE * kept.num_bytes:
        note += "; that saves next to nothing, as one layer has most of the activations, or there are few"
    if wanted == _AUTO:
        return Recomputation(setting=True, note=f"{note}; {room}")
    return Recomputation(setting=wanted, note=note)


def _spare(device: torch.device) -> int:
    """Return the bytes that a step may take on a device."""
    free = free_bytes(device)
    return available_bytes() if free is None else int(_PART * free)


def _size(num_bytes: int) -> str:
    """Return a number of bytes in MB."""
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes < 1e8 else f"{num_bytes / 1e6:,.0f} MB"
