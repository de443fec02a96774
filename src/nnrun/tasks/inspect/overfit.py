"""Check whether a network can overfit a single batch: one that cannot will not learn a data set."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from nnrun.core.randomness import seed_step
from nnrun.core.seams.batch import Batch
from nnrun.core.step import Step

# Number of consecutive steps in which every sample must be right: with dropout, one may be by luck.
_STEPS_IN_A_ROW = 5


@dataclass(frozen=True)
class Overfit:
    """The result: the number of updates that were needed, or made in vain; the losses of the first and the last step.

    `score` is the fraction of samples that were right in the last step.
    """

    reached: bool
    steps: int
    first_loss: float
    last_loss: float
    score: float

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; a loss that is NaN or infinite becomes null."""
        return {key: value if math.isfinite(value) else None for key, value in asdict(self).items()}


def overfit(step: Step, batch: Batch, most_steps: int, poll: Callable[[], None]) -> Overfit:
    """Train on one batch until every sample is right in some consecutive steps, or for `most_steps` steps.

    `poll` is called before each step, and may raise to stop. Waits for the device in every step.
    """
    state, problem = step.state, step.objective.problem
    losses: list[float] = []
    in_a_row, score = 0, 0.0
    state.set_training()
    for number in range(most_steps):
        poll()
        seed_step(state.device, state.seed, 0, number)
        outputs, _, loss = step.gradients(batch, batch.num_samples)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
        predictions = problem.predictions(problem.scores(outputs.float()))
        score = problem.are_right(predictions, batch.targets).double().mean().item()
        in_a_row = in_a_row + 1 if score == 1 else 0
        if in_a_row == _STEPS_IN_A_ROW:
            return Overfit(True, number + 1 - _STEPS_IN_A_ROW, losses[0], losses[-1], score)
        step.update(loss)
    return Overfit(False, len(losses), losses[0], losses[-1], score)
