"""Whether the steps and the validations of a training are captured as CUDA graphs, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nnrun.assembly.job import Job
from nnrun.base.errors import ConfigError
from nnrun.base.visible import few
from nnrun.config.composed import Composed
from nnrun.config.schema import NAMED_SECTIONS, TARGET_SECTIONS
from nnrun.core.batches import SplitBatches
from nnrun.core.device import is_gpu
from nnrun.core.plan import Plan
from nnrun.core.ragged import lengths_of
from nnrun.core.recorder import Recorder
from nnrun.core.residency import StreamedSamples
from nnrun.core.seams.batch import Batches
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState
from nnrun.core.step import Step
from nnrun.core.work import Work
from nnrun.runs.console import Console

if TYPE_CHECKING:
    from nnrun.core.captured_evaluation import CapturedEvaluation

# What `auto` asks for: capturing takes about as long as this many steps save on a fast host.
_LEAST_STEPS = 100
# The batches of all validations after the first that make it worth capturing those.
_LEAST_BATCHES = 100
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


def captured(job: Job, work: Work, step: Step, plan: Plan, console: Console) -> Work:
    """Return the work with a step and validations that are captured, if that is wanted and possible.

    If a step cannot be, `trainer.cuda_graph=true` raises ConfigError; otherwise the console says why.
    """
    is_asked = job.settings.trainer.cuda_graph is True and _is_asked(job.composed)
    if not wants_capture(job, plan.total_steps):
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

    train, state = work.train, step.state
    may_change = None if is_asked else _may_change(job)
    no_batches = _why_not_these(train, state)
    if why := no_batches or _why_no_update(state, work) or may_change:
        give_up(why)
    if no_batches or may_change:
        return work
    assert isinstance(train, SplitBatches)
    generators = [train.augmenter.generator] if train.augmenter else []
    record = CudaRecorder(state.device, generators, needs_room=not is_asked)
    if not why:
        captured_step = CapturedStep(step, train, record, give_up, begin)
        work = replace(work, step=captured_step, train=captured_step.rows)
    if work.valid is not None and num_replayed(plan, train.num_batches, work.valid.num_batches) >= _LEAST_BATCHES:
        work = replace(work, evaluate=_captured_evaluation(record, console))
    return work


def num_replayed(plan: Plan, num_batches: int, num_valid: int) -> int:
    """Return the batches of all validations of a training after the first, which is never replayed."""
    steps_per_epoch = -(-num_batches // plan.accumulate)
    num_validations = -(-plan.total_steps // steps_per_epoch)
    if plan.validate_every_steps is not None:
        num_validations += plan.total_steps // plan.validate_every_steps
    return (num_validations - 1) * num_valid


def _captured_evaluation(record: Recorder, console: Console) -> CapturedEvaluation:
    """Return what validates by replays; the memory of its recording is that of the step's."""
    from nnrun.core.captured_evaluation import CapturedEvaluation  # noqa: PLC0415 - as above

    def give_up(why: str) -> None:
        console.say(f"validations are not launched as CUDA graphs: {why}")

    def begin() -> None:
        console.say("validations are launched as one CUDA graph a batch, which was checked to give the same results")

    return CapturedEvaluation(record, give_up, begin)


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


def _why_not_these(batches: Batches, state: TrainState) -> str | None:
    """Return why work on the batches of a training cannot be captured, as far as that is known before the first."""
    if not isinstance(batches, SplitBatches):
        return "the frozen backbone's features are cached (transfer.cache=false computes them in each step)"
    samples = batches.samples
    if isinstance(samples, StreamedSamples) or samples.home != state.device:
        return "the samples are not on the device (data.residency=device puts them there)"
    if not all(isinstance(leaf, Tensor) for leaf in tree_leaves(samples.placed.inputs)):
        is_ragged = lengths_of(samples.placed.inputs) is not None
        what = "samples have different lengths, and so do batches"
        return what if is_ragged else "batches are made of the samples on the host"
    if state.world.size > 1:
        return "several processes train together"
    return None


def _why_no_update(state: TrainState, work: Work) -> str | None:
    """Return why the updates of a training cannot be captured, though its validations may be."""
    if drawing := getattr(state.train_module, "drawing", ()):
        return f"trainer.recompute repeats layers that draw random numbers ({few(drawing)}), as dropout does"
    for callback in work.callbacks:
        own = getattr(callback, "callback", None)
        if own is not None and type(own).joins_update is Callback.joins_update and own.joins_update(state):
            return f"{type(own).__name__} looks at the gradients of each update"
    return None
