"""The files through which a job on another machine and its sweep talk to each other: each appears whole or not at all.

The job writes `progress.json` after a validation and `ended.json` at its end; the sweep answers with `decision.json`,
and asks it to save and stop with `stop.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnrun.base.files import read_record, write_json
from nnrun.sweeps.seams import Decision, Ended, Progress

SCHEMA = 1
# Those that a new start of a job must not find.
_OF_A_START = ("begun.json", "decision.json", "stop.json", "outcome.json", "ended.json", "spent.json")


class Exchange:
    """The files of one job, in a folder that the machines share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The last report that was seen here, or written.
        self._sequence = 0

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the content of a file; None if there is none yet."""
        return read_record(self.folder / f"{name}.json")

    def write(self, name: str, **values: Any) -> None:
        """Replace a file."""
        write_json(self.folder / f"{name}.json", values, SCHEMA)

    def clear(self) -> None:
        """Remove what an earlier start of the job left."""
        for name in _OF_A_START:
            (self.folder / name).unlink(missing_ok=True)

    # What the job calls.

    def report(self, epoch: float, step: int, metrics: Mapping[str, float], *, awaits: bool) -> int:
        """Write the result of a validation; return its number, which the answer repeats."""
        earlier = (self.read("progress") or {}).get("sequence", 0)
        values = {"epoch": epoch, "step": step, "metrics": dict(metrics), "awaits": awaits}
        self.write("progress", sequence=earlier + 1, **values)
        return int(earlier) + 1

    def decision(self, sequence: int) -> Decision | None:
        """Return the answer to a report; None if there is none yet."""
        found = self.read("decision") or {}
        return Decision(found["decision"]) if found.get("sequence") == sequence else None

    @property
    def is_told_to_end(self) -> bool:
        """Whether the sweep paused or stopped the job: its end is final, and not one to resume from by itself."""
        found = self.read("decision") or {}
        return self.read("stop") is not None or found.get("decision") in (Decision.PAUSE, Decision.STOP)

    # What the sweep calls.

    def new_progress(self, number: int) -> Progress | None:
        """Return the newest report of job `number`, unless it was returned before."""
        found = self.read("progress")
        if found is None or found["sequence"] <= self._sequence:
            return None
        self._sequence = found["sequence"]
        return Progress(number, found["epoch"], found["step"], found["metrics"], found["awaits"])

    def skip_earlier(self) -> None:
        """Count what an earlier start of the job reported as seen."""
        self._sequence = (self.read("progress") or {}).get("sequence", 0)

    def skip_answered(self) -> None:
        """Count what was reported before as seen, unless the job still waits for the answer."""
        self.skip_earlier()
        last = self.read("progress") or {}
        if last.get("awaits") and (self.read("decision") or {}).get("sequence") != self._sequence:
            self._sequence -= 1

    def answer(self, decision: Decision) -> None:
        """Answer the last report."""
        self.write("decision", sequence=self._sequence, decision=decision.value)

    def ended(self, number: int) -> Ended | None:
        """Return how job `number` ended; None while it may still run."""
        found = self.read("ended")
        if found is None:
            return None
        reason, summary = found["reason"] or "", found["summary"]
        return Ended(number, found["exit_code"], reason, summary, found["may_succeed"], found["seconds"])
