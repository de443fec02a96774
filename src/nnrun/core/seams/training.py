"""What goes beside a training: its schedule of learning rates, and where its metrics go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol


class Scheduler(Protocol):
    """A learning rate schedule. A class of another library that has no `interval` steps by epoch."""

    interval: ClassVar[Literal["step", "epoch"]]

    def step(self) -> None:
        """Set the learning rate for the next step or epoch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        ...


class Logger(Protocol):
    """Where metrics go besides metrics.jsonl."""

    def start(self, run: Path, config: Mapping[str, Any]) -> None:
        """Begin with the run directory and the redacted config."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take metrics by full name."""
        ...

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Take the summary and close."""
        ...
