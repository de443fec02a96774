"""The steps of a training whose loss was NaN, infinite or a spike, in odd_steps.json, to be examined later."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from nnrun.assembly.training import Training
from nnrun.base.errors import ResourceError
from nnrun.base.files import read_record, write_json
from nnrun.core.batches import SplitBatches
from nnrun.core.spikes import OddStep

NAME = "odd_steps.json"
SCHEMA = 1


def keep_odd_steps(run: Path, training: Training, first_step: int) -> None:
    """Write the odd steps of a training to its run directory, each with the samples of its batches.

    Those up to `first_step`, from which this process resumed, stay in the file.
    """
    state = training.state
    earlier = [row for row in read_odd_steps(run) if row["step"] <= first_step]
    found = [_row(odd, training) for odd in state.watch.odd]
    if not state.world.is_first or not (found or (run / NAME).exists()):
        return
    # What ends the training on a full disk is reported already; this must not take its place.
    with suppress(ResourceError):
        write_json(run / NAME, {"seed": state.seed, "steps": [*earlier, *found]}, SCHEMA)


def read_odd_steps(run: Path) -> list[dict[str, Any]]:
    """Return the odd steps that a run recorded, in order; none where the file is missing or damaged."""
    steps = (read_record(run / NAME) or {}).get("steps")
    return (
        [row for row in steps if isinstance(row, dict) and _is_count(row.get("step"))]
        if isinstance(steps, list)
        else []
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _row(odd: OddStep, training: Training) -> dict[str, Any]:
    """Return the record of an odd step; `indices` are positions in the training split."""
    step, epoch, batch = odd.place
    batches = range(batch - 1, min(batch - 1 + training.plan.accumulate, training.train.num_batches))
    return {
        "step": step,
        "epoch": epoch,
        "batch": batch,
        "loss": odd.loss if math.isfinite(odd.loss) else str(odd.loss),
        "why": "spike" if math.isfinite(odd.loss) else "NaN or infinite",
        "indices": list(indices_of(training, epoch - 1, batches)),
    }


def indices_of(training: Training, epoch: int, batches: range) -> Iterator[int]:
    """Yield the positions in the training split of the samples of some batches of an epoch, without padding."""
    train = training.train
    assert isinstance(train, SplitBatches)
    order = train.samples.order(train.shuffle_seed, epoch, train.batch_size)  # of all ranks
    for index in batches:
        yield from order[index * train.batch_size : (index + 1) * train.batch_size].tolist()
