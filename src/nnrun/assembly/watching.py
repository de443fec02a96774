"""Build what watches a training: its health, and the parts of trainer.watch."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.job import Job
from nnrun.config.ranges import WATCHED_PARTS
from nnrun.core.laps import Laps, unmarked
from nnrun.core.objective import Objective
from nnrun.core.seams.callback import Callback
from nnrun.runs.console import Console
from nnrun.runs.diagnosis import Known
from nnrun.runs.directory import RunDir


def known_of(job: Job, data: Opened, objective: Objective) -> Callable[[], Known]:
    """Return a function that computes, once, what a training is judged by besides its rows."""

    @functools.cache
    def known() -> Known:
        problem, settings = objective.problem, job.settings
        baseline = problem.baseline(data.train.targets, data.valid.targets) if data.valid else None
        return Known(
            headline=problem.headline,
            baseline=baseline,
            num_valid=len(data.valid) if data.valid else 0,
            chance_loss=_chance_loss(settings.loss, data),
            is_fresh=not (settings.init_from or settings.transfer.weights or settings.resume),
        )

    return known


def _chance_loss(loss: dict[str, Any], data: Opened) -> float | None:
    """Return what guessing evenly costs by nnrun's unweighted cross-entropy; None for other losses."""
    is_plain = loss["_target_"].endswith(".CrossEntropy") and loss["_target_"].startswith("nnrun.")
    return math.log(data.targets.num_outputs) if is_plain and loss.get("weight") is None else None


def parts_of(watch: str | list[str]) -> tuple[str, ...]:
    """Return the parts that trainer.watch names."""
    words = [watch] if isinstance(watch, str) else watch
    return WATCHED_PARTS if "all" in words else tuple(part for part in WATCHED_PARTS if part in words)


@dataclass(frozen=True)
class Watch:
    """The callbacks of trainer.watch and trainer.profile, where a step tells of its parts, and their times."""

    callbacks: dict[str, Callback] = field(default_factory=dict)
    mark: Callable[[str], None] = unmarked
    laps: Laps | None = None


def make_watch(job: Job, units: dict[str, int], out: RunDir, total_steps: int, console: Console) -> Watch:
    """Return what trainer.watch and trainer.profile ask for.

    It fills in `units`, the number of units of the layers whose dead ones are counted.
    """
    trainer = job.settings.trainer
    parts = parts_of(trainer.watch)
    laps = Laps(job.device) if "time" in parts or trainer.profile else None
    callbacks: dict[str, Callback] = {}
    marks: list[Callable[[str], None]] = []
    if trainer.profile:
        from nnrun.components.callbacks.profiling import Profiling  # noqa: PLC0415 - most runs profile nothing

        assert laps is not None
        is_streamed = job.settings.data.residency == "stream"
        profiling = Profiling(out.path, total_steps, laps, console, is_streamed=is_streamed)
        callbacks["nnrun.profile"] = profiling
        marks.append(profiling.mark)
    if parts:
        from nnrun.components.callbacks.watching import Watching  # noqa: PLC0415 - most runs do not watch

        watching = Watching(parts, trainer.watch_every_steps, laps if "time" in parts else None, units)
        callbacks["nnrun.watch"] = watching
        marks.append(watching.mark)
    if laps is not None:
        marks.append(laps)
    return Watch(callbacks, all_of(marks), laps)


def all_of(marks: Sequence[Callable[[str], None]]) -> Callable[[str], None]:
    """Return a function that tells each of these where a part of a step ends."""
    if len(marks) < 2:
        return marks[0] if marks else unmarked

    def mark(part: str) -> None:
        for each in marks:
            each(part)

    return mark
