"""The checked config of a job as bytes, for another process of the same sweep: YAML edited meanwhile changes nothing.

The bytes stay in memory, between processes of one sweep. On a cluster they are in a file that only its owner may read,
until the job ends; nothing unpickles a file of a sweep that is resumed.
"""

from __future__ import annotations

import pickle
from dataclasses import fields

from nnrun.config.composed import Composed
from nnrun.config.rules import Rules

# Functions cannot be pickled: the rules are the same in each process, and have the tasks.
_OF_THE_PROCESS = ("rules", "task")


def freeze(composed: Composed) -> bytes:
    """Return a config without a source as bytes; a source is an open file."""
    assert composed.source is None, "a job that reads a checkpoint is composed where it runs"
    kept = {it.name: getattr(composed, it.name) for it in fields(Composed) if it.name not in _OF_THE_PROCESS}
    # Resolving its references takes a job most of the time of its own checks.
    return pickle.dumps((composed.task.name, kept, composed.resolved()))


def thaw(content: bytes, rules: Rules) -> Composed:
    """Return the config in some bytes; `rules` are those of this process."""
    name, kept, resolved = pickle.loads(content)
    task = next(task for task in rules.tasks if task.name == name)
    return Composed(task=task, rules=rules, **kept).known_as(resolved)
