"""`sweep=random`: settings drawn at random, a function of the seed and the number of the trial."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Protocol

from nnrun.sweeps.search.space import Space, Value
from nnrun.sweeps.search.trial import Trial

# What a proposer chose, and what it wants kept with the trial.
Proposed = tuple[dict[str, Value], dict[str, Any]]


class Proposer(Protocol):
    """A way to choose the next point; its randomness is a function of its seed, the number and the attempt.

    `keeps_attributes` says that later proposals depend on what it kept with earlier ones.
    """

    keeps_attributes: bool

    def propose(self, trials: Sequence[Trial], number: int, attempt: int) -> Proposed:
        """Choose a point for trial `number`; further attempts follow where the point was proposed before."""


class RandomDraws:
    """Draw each setting evenly from its interval or its choice."""

    keeps_attributes = False

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed

    def propose(self, trials: Sequence[Trial], number: int, attempt: int) -> Proposed:
        """Draw a point, whatever the trials were."""
        point: dict[str, Value] = {}
        for item in self._space.in_order():
            if self._space.exists(item.key, point):
                # Each setting has draws of its own: another setting in the space changes nothing in this one.
                point[item.key] = item.value_at(Random(f"{self._seed}/{number}/{attempt}/{item.key}").random())
        return point, {}
