"""The files of a run that a report cannot read, or only in part."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nnrun.base.shown import counted
from nnrun.checkpoints.manifest import FOLDER_NAME, MANIFEST_NAME

RECORDS = ("summary.json", "status.json", "environment.json", f"{FOLDER_NAME}/{MANIFEST_NAME}")


def faults_of(path: Path, read: Mapping[str, Any], num_lost: int) -> Iterator[str]:
    """Yield what is missing from a run directory or damaged in it.

    `read` has what each file holds, empty or None where it cannot be read; `num_lost` is the number of lines of
    metrics.jsonl that are no rows.
    """
    for name, found in read.items():
        if not found and os.path.lexists(path / name):
            yield f"{name} cannot be read"
    if read["status.json"].get("state") == "finished":
        # Only a training has checkpoints, and rows of metrics.
        wanted = ("summary.json", "metrics.jsonl") if (path / FOLDER_NAME).exists() else ("summary.json",)
        yield from (f"{name} is missing" for name in wanted if not os.path.lexists(path / name))
    if num_lost:
        yield f"{counted(num_lost, 'line')} of metrics.jsonl cannot be read: what follows may be missing"
