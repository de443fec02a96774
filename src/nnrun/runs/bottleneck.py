"""What a training is bound by, from where its time went: a pure function of a few numbers. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Bound = Literal["evaluation", "data", "launches", "arithmetic"]

# The share of the training's time from which validation is the limit, and of a step's time from which the data is.
_EVALUATION, _DATA = 0.5, 0.4
# The share of the time in which a GPU computes, below which launches are the limit.
_BUSY = 0.6
# The mean microseconds of an operation on a CPU below which its overhead is the limit.
_SMALL_MICROSECONDS = 15


@dataclass(frozen=True)
class Spent:
    """Where the time of a training went.

    `evaluation` is the share of validations in the training's time, `data` that of waiting for data in the steps'.
    `busy` is the share of a profiled step in which the GPU computes; None on a CPU, where `microseconds` is the mean
    time of an operation.
    """

    evaluation: float
    data: float
    busy: float | None
    microseconds: float
    precision: str
    is_streamed: bool


def bound_by(spent: Spent) -> tuple[Bound, str]:
    """Return what limits the speed, and a line with that and what to change."""
    if spent.evaluation >= _EVALUATION:
        return "evaluation", (
            f"bound by evaluation: validation takes {spent.evaluation:.0%} of the training. Use a larger "
            "data.eval_batch_size, a larger trainer.validate_every_steps, or a smaller data.val_fraction"
        )
    if spent.data >= _DATA:
        advice = (
            "Raise data.num_workers, or use data.residency=memory if the samples fit"
            if spent.is_streamed
            else "Use fewer augmentations, or data.residency=device if the samples fit"
        )
        return "data", f"bound by data: {spent.data:.0%} of a step waits for samples. {advice}"
    is_small = spent.busy < _BUSY if spent.busy is not None else spent.microseconds < _SMALL_MICROSECONDS
    if is_small:
        how = (
            f"the GPU computes in {spent.busy:.0%} of the time"
            if spent.busy is not None
            else f"an operation takes {spent.microseconds:.0f} microseconds, most of it overhead"
        )
        return "launches", f"bound by launches: {how}. Use a larger data.batch_size, or trainer.compile=true"
    if spent.precision == "fp32":
        advice = "Use trainer.precision=bf16 where the device has it, or a smaller network"
    else:
        advice = "Use a smaller network or smaller inputs; trainer.compile=true may help"
    return "arithmetic", f"bound by arithmetic: the device computes most of the time. {advice}"
