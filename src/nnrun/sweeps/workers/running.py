"""A job that runs in a process of its own, and how it ended."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from nnrun.base.errors import ResourceError
from nnrun.base.files import read_record, write_json
from nnrun.runs.directory import STATUS_SCHEMA, now
from nnrun.sweeps.seams import Ended, Order
from nnrun.sweeps.workers.endings import ending_of, out_of_time
from nnrun.sweeps.workers.messages import Channel

# How long a job may take to save once it was asked to stop because it ran too long; then it is killed.
GRACE_SECONDS = 20.0


@dataclass
class Running:
    """A job: its order, its socket, its device, how long it has run, and what it was told."""

    order: Order
    channel: Channel
    device: str | None
    seconds: float = 0.0
    is_asked: bool = False
    is_killed: bool = False
    # It is meant to end before it is done: the sweep stops, or the search has decided so.
    is_stopping: bool = False
    # The process that started it is gone.
    is_orphan: bool = False
    # What it said of its end, or what is known of that.
    ended: Ended | None = None
    num_retries: int = 0
    # When a job that is to be tried again starts.
    due: float | None = None

    def ask_to_stop(self) -> None:
        """Ask the job to save and stop, once."""
        if not self.is_asked:
            self.is_asked = True
            self.channel.send({"stops": True})

    def left(self, minutes: float) -> float:
        """Return the seconds until the job has to be asked to stop, or to be killed, which may be over."""
        return minutes * 60 + (GRACE_SECONDS if self.is_asked else 0.0) - self.seconds

    def conclude(self, status: int, minutes: float | None) -> Ended:
        """Return how the job ended, from what it said, and the `status` of its process; record it where it could not.

        `minutes` is the time that it had.
        """
        number, said = self.order.number, self.ended
        is_over = minutes is not None and self.seconds >= minutes * 60 and self.is_asked and not self.is_stopping
        # It saved and stopped because the process that started it was gone.
        is_lost = self.is_orphan and not self.is_stopping
        if said is not None and not (said.exit_code and (is_over or is_lost)):
            return said
        end = out_of_time(minutes) if is_over and minutes is not None else ending_of(status)
        is_environments = end.exit_code == ResourceError.exit_code and not is_over
        self._record(end.exit_code, end.reason)
        return Ended(number, end.exit_code, end.reason, None, is_environments, round(self.seconds, 3))

    def _record(self, exit_code: int, reason: str) -> None:
        """Say in the run's status how it ended; on a full disk nothing is said."""
        path = self.order.directory / "status.json"
        status = read_record(path) or {}
        ended = {"state": "failed", "ended": now(), "exit_code": exit_code, "reason": reason}
        with suppress(OSError, ResourceError):
            write_json(path, {key: value for key, value in status.items() if key != "schema"} | ended, STATUS_SCHEMA)
