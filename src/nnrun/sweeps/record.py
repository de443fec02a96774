"""The record of a sweep on disk, sweep.json and sweep.csv: replaced whole after every event."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nnrun.sweeps.best import link_best
from nnrun.sweeps.points import points_of
from nnrun.sweeps.table import JobResult, write_table


@dataclass
class Record:
    """What is known of a sweep: how it was started, and all its jobs."""

    folder: Path
    swept: Sequence[str]
    # Its words, without secrets, and its settings.
    words: Sequence[str]
    settings: Mapping[str, Any]
    rows: list[JobResult] = field(default_factory=list)
    # The keys that repeats of a point differ in.
    repeated: Sequence[str] = ()
    # What the search was asked and told, in order: a resumed sweep has the same search again.
    told: Sequence[Any] = ()
    state: str = "running"
    # How long it ran before this process: sweep.minutes count in all.
    seconds: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    def write(self) -> Path:
        """Replace both files; return the path of sweep.csv."""
        record = {
            "state": self.state,
            "seconds": round(self.seconds + time.monotonic() - self._began, 3),
            "words": list(self.words),
            "settings": self.settings,
            "swept": list(self.swept),
            "told": list(self.told),
            **({"points": [asdict(point) for point in points_of(self.rows, self.repeated)]} if self.repeated else {}),
        }
        table = write_table(self.rows, self.swept, self.folder, record)
        link_best(self.rows, self.folder)
        return table

    @property
    def ended(self) -> list[JobResult]:
        """The jobs that have a result."""
        return [row for row in self.rows if row.has_ended]
