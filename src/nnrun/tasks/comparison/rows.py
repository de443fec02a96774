"""The rows of a run's metrics.jsonl, as far as they can be read, and how far the run came by them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nnrun.base.files import check_is_file
from nnrun.config.monitor import LOSS, PREFIX

_MOST_ROW_BYTES, _MOST_ROWS_BYTES = 2**20, 2**26


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a run's metrics.jsonl that can be read; none where the file cannot be."""
    file = path / "metrics.jsonl"
    try:
        check_is_file(file)
        with file.open("rb") as lines:
            while lines.tell() < _MOST_ROWS_BYTES and (line := lines.readline(_MOST_ROW_BYTES)):
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(row, dict):
                    yield row
    except OSError:
        return


def by_epoch(rows: Iterable[Mapping[str, Any]], split: str, key: str) -> dict[int, float]:
    """Return the last value of a metric in each epoch."""
    found = {}
    for row in rows:
        epoch, value = row.get("epoch"), row.get(key)
        if row.get("split") == split and isinstance(epoch, int) and isinstance(value, int | float):
            found[epoch] = float(value)
    return found


def reached(path: Path, monitor: str | None, mode: str | None) -> str | None:
    """Return how far a run without a result came, by its rows: its last epoch, and the best monitored value."""
    last: int | None = None
    best: float | None = None
    name = (monitor or LOSS).removeprefix(PREFIX)
    for row in rows_of(path):
        if isinstance(epoch := row.get("epoch"), int):  # the row of the test has that of the best weights
            last = epoch if last is None else max(last, epoch)
        if row.get("split") == PREFIX.removesuffix("/") and (value := number_of(row.get(name))) is not None:
            is_less_better = name == LOSS.removeprefix(PREFIX) or mode == "min"
            best = value if best is None else min(best, value) if is_less_better else max(best, value)
    if last is None:
        return None
    is_known = best is not None and (mode is not None or name == LOSS.removeprefix(PREFIX))
    return f"epoch {last:,}" + (f", best {monitor or LOSS} {best:.4g} so far" if is_known else "")


def number_of(value: object) -> float | None:
    """Return a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None
