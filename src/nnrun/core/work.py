"""What a training works with: its objective, step, data and callbacks."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from nnrun.base.errors import InterruptedRun
from nnrun.core.evaluate import evaluate
from nnrun.core.objective import Objective
from nnrun.core.seams.batch import Batches
from nnrun.core.seams.callback import Callback
from nnrun.core.seams.problem import Sums
from nnrun.core.seams.training import UpdateStep
from nnrun.core.seams.world import World


@dataclass(frozen=True)
class Work:
    """What is learned, and from what.

    `poll` is called between steps, and between the batches of a validation, where the state can be saved. It may raise,
    on all ranks at once. `evaluate` measures a network on the batches of `valid`, as the function of that name does.
    """

    objective: Objective
    step: UpdateStep
    train: Batches
    valid: Batches | None
    callbacks: Sequence[Callback] = ()
    poll: Callable[[], None] = lambda: None
    evaluate: Callable[[nn.Module, Objective, Batches, Callable[[], None]], Sums] = evaluate


def poll_together(poll: Callable[[], None], world: World) -> Callable[[], None]:
    """Return a poll that interrupts all ranks if one is interrupted, so that none waits for another."""

    def together() -> None:
        interruption = None
        try:
            poll()
        except InterruptedRun as heard:
            interruption = heard
        if world.agree(interruption is not None):
            is_ctrl_c = world.agree(interruption is not None and interruption.exit_code == 128 + signal.SIGINT)
            raise interruption or InterruptedRun(signal.SIGINT if is_ctrl_c else signal.SIGTERM)

    return together
