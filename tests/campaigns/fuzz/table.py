"""Everything that is fuzzed, by name."""

from __future__ import annotations

from campaigns.fuzz import of_checkpoints, of_data

TARGETS = {target.name: target for target in (*of_checkpoints.TARGETS, *of_data.TARGETS)}
