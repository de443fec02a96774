"""What loggers are told of a run, read from its directory: its rows, its id, its sweep. Needs no torch."""

from __future__ import annotations

import hashlib
import json
import math
from itertools import islice
from pathlib import Path
from typing import Any

from nnrun.base.files import read_record

# A sweep's table, in its folder.
_SWEEP_TABLE = "sweep.csv"
_MAX_ROW_BYTES = 2**20
_PLACE = ("step", "epoch", "split")

Row = tuple[int, dict[str, float]]


def logged_rows(run: Path, most: int | None = None) -> tuple[Row, ...]:
    """Return the rows of a run's metrics.jsonl as loggers take them: a step, and values by full name; `most` of them.

    Steps never go back: the test of the best weights, at the end, is at the last step. A line that cannot be read ends
    the rows.
    """
    path = run / "metrics.jsonl"
    if not path.is_file():
        return ()
    rows: list[Row] = []
    with path.open("rb") as file:
        for line in islice(iter(lambda: file.readline(_MAX_ROW_BYTES), b""), most):
            row = _row_of(line, rows[-1][0] if rows else 0)
            if row is None:
                break
            rows.append(row)
    return tuple(rows)


def num_lines(run: Path) -> int:
    """Return the number of lines of a run's metrics.jsonl, those that cannot be read among them."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in iter(lambda: file.readline(_MAX_ROW_BYTES), b""))


def _row_of(line: bytes, newest_step: int) -> Row | None:
    """Return a line of metrics.jsonl as a row; None if it is damaged."""
    try:
        row = json.loads(line)
        step, split = int(row["step"]), str(row["split"])
    except (ValueError, KeyError, TypeError):
        return None
    values = {f"{split}/{name}": value for name, value in row.items() if name not in _PLACE}
    # null is a value that was NaN or infinite.
    numbers = {name: math.nan if value is None else value for name, value in values.items()}
    return max(step, newest_step), {n: float(v) for n, v in numbers.items() if isinstance(v, int | float)}


def id_of(run: Path) -> str:
    """Return the id of a run: the same after it is resumed, moved or copied.

    For runs of versions before 0.6.0, which have none, it is derived from when and where the run started.
    """
    status: dict[str, Any] = read_record(run / "status.json") or {}
    if isinstance(found := status.get("id"), str) and found.isalnum():
        return found
    start = [run.absolute().name, status.get("started"), status.get("host")]
    return hashlib.sha256(json.dumps(start).encode()).hexdigest()[:16]


def sweep_of(run: Path, *, is_job: bool = False) -> str | None:
    """Return the name of the sweep that a run is a job of: the last two folders of its path; None if it is none.

    A sweep has a table once its first job has ended; `is_job` says that it is one.
    """
    folder = run.absolute().parent
    return "/".join(folder.parts[-2:]) if is_job or (folder / _SWEEP_TABLE).is_file() else None
