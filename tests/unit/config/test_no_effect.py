"""How often a run validates, by a count of its steps."""

from __future__ import annotations

import itertools

from nnrun.config.no_effect import _num_validations


def test_validations_are_counted_as_a_run_makes_them() -> None:
    """Against every step looked at: due by its number, the last of its epoch, or the last of all."""
    for every, steps_per_epoch, total_steps in itertools.product([None, 1, 2, 3, 4, 6, 7], [1, 3, 4, 6], range(1, 20)):
        made = [
            step
            for step in range(1, total_steps + 1)
            if (every and step % every == 0) or step % steps_per_epoch == 0 or step == total_steps
        ]
        counted = _num_validations({"validate_every_steps": every}, steps_per_epoch, total_steps)
        assert counted == len(made), (every, steps_per_epoch, total_steps)
