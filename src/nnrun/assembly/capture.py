"""Whether the steps of a training are captured as a CUDA graph, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nnrun.assembly.job import Job
from nnrun.base.errors import ConfigError
from nnrun.config.composed import Composed
from nnrun.config.schema import NAMED_SECTIONS, TARGET_SECTIONS
from nnrun.core.batches import SplitBatches
from nnrun.core.device import is_gpu
from nnrun.core.ragged import lengths_of
from nnrun.core.residency import StreamedSamples
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState
from nnrun.core.step import Step
from nnrun.core.work import Work
from nnrun.runs.console import Console

# What `auto` asks for: capturing takes about as long as this many steps save on a fast host.
_LEAST_STEPS = 100
# Whose code is known to keep nothing on the host that changes what a step computes.
_KNOWN = ("nnrun.", "torch.", "torchvision.")


def check_capture(composed: Composed, wanted: bool | Literal["auto"], device: torch.device) -> None:
    """Raise ConfigError if the step shall be captured, and the device is no GPU."""
    if wanted is True and _is_asked(composed) and not is_gpu(device):
        raise ConfigError(
            f"trainer.cuda_graph=true needs a GPU, but the device is {device}; use trainer.cuda_graph=auto"
        )


def wants_capture(job: Job, num_steps: int) -> bool:
    """Return what `trainer.cuda_graph` means for a training of `num_steps`: a function of the config and the machine.

    A resumed run keeps the value that it had at the start, where it has a GPU.
    """
    wanted = job.settings.trainer.cuda_graph
    return is_gpu(job.device) and (num_steps >= _LEAST_STEPS if wanted == "auto" else wanted)


def captured(job: Job, work: Work, step: Step, num_steps: int, console: Console) -> Work:
    """Return the work with a step that is captured, if that is wanted and possible.

    If it is not possible, `trainer.cuda_graph=true` raises ConfigError; otherwise the console says why.
    """
    is_asked = job.settings.trainer.cuda_graph is True and _is_asked(job.composed)
    if not wants_capture(job, num_steps):
        return work
    # Only such a run needs them.
    from nnrun.assembly.cuda_recorder import CudaRecorder  # noqa: PLC0415
    from nnrun.core.captured_step import CapturedStep  # noqa: PLC0415

    def give_up(why: str) -> None:
        if is_asked:
            raise ConfigError(
                f"trainer.cuda_graph=true: the step cannot be captured: {why}; use trainer.cuda_graph=auto"
            )
        console.say(f"training steps are not launched as one CUDA graph: {why}")

    def begin() -> None:
        console.say("training steps are launched as one CUDA graph, which was checked to give the same results")

    if why := _why_not(step.state, work) or (None if is_asked else _may_change(job)):
        give_up(why)
        return work
    train = work.train
    assert isinstance(train, SplitBatches)
    generators = [train.augmenter.generator] if train.augmenter else []
    record = CudaRecorder(step.state.device, generators, needs_room=not is_asked)
    captured_step = CapturedStep(step, train, record, give_up, begin)
    return replace(work, step=captured_step, train=captured_step.rows)


def _may_change(job: Job) -> str | None:
    """Return whose values may change unseen by a recording: those of custom code, which may keep them on the host."""
    tree = job.composed.resolved()
    sections = {name: tree.get(name) for name in TARGET_SECTIONS}
    for group in NAMED_SECTIONS:
        sections |= {f"{group}.{name}": each for name, each in (tree.get(group) or {}).items() if group != "logger"}
    for name, section in sections.items():
        target = section.get("_target_") if isinstance(section, Mapping) else None
        if isinstance(target, str) and not target.startswith(_KNOWN):
            return f"{name} is custom code, which may change values on the host; if not, set trainer.cuda_graph=true"
    return None


def _is_asked(composed: Composed) -> bool:
    """Return whether the setting is this command's, not that of a checkpoint."""
    return composed.located is None or composed.named("trainer.cuda_graph")


def _why_not(state: TrainState, work: Work) -> str | None:
    """Return why the steps of a training cannot be captured, as far as that is known before the first."""
    if not isinstance(work.train, SplitBatches):
        return "the frozen backbone's features are cached (transfer.cache=false computes them in each step)"
    samples = work.train.samples
    if isinstance(samples, StreamedSamples) or samples.home != state.device:
        return "the samples are not on the device (data.residency=device puts them there)"
    if not all(isinstance(leaf, Tensor) for leaf in tree_leaves(samples.placed.inputs)):
        is_ragged = lengths_of(samples.placed.inputs) is not None
        what = "samples have different lengths, and so do batches"
        return what if is_ragged else "batches are made of the samples on the host"
    if state.world.size > 1:
        return "several processes train together"
    for callback in work.callbacks:
        own = getattr(callback, "callback", None)
        if own is not None and type(own).joins_update is Callback.joins_update and own.joins_update(state):
            return f"{type(own).__name__} looks at the gradients of each update"
    return None
