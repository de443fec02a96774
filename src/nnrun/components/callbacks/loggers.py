"""Call the loggers of a run. A logger that fails is reported once and not called again; it never stops the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from nnrun.base.foreign_errors import place_of, said_by
from nnrun.base.secrets import hide_known
from nnrun.base.signals import in_force
from nnrun.core.seams.training import Logger, RunInfo
from nnrun.runs.console import Console


class Loggers:
    """The loggers that have started, by name, which only this class calls; `failed` has the error of each that failed.

    Of their exceptions only KeyboardInterrupt passes: it stops the run.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started: dict[str, Logger] = {}
        self.failed: dict[str, str] = {}

    def start(self, loggers: Mapping[str, Logger], run: RunInfo) -> None:
        """Start each logger, and keep those that did not fail."""
        for name, logger in loggers.items():
            if self._calls(name, logger.start, run):
                self._started[name] = logger

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Pass values to each logger, each time in a new mapping."""
        for name, logger in list(self._started.items()):
            if not self._calls(name, logger.log, step, dict(values)):
                del self._started[name]

    def image(self, step: int, name: str, image: Tensor) -> None:
        """Pass an image to each logger that has a method `image`."""
        for key, logger in list(self._started.items()):
            take = getattr(logger, "image", None)
            if take is not None and not self._calls(key, take, step, name, image):
                del self._started[key]

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Finish each logger; later calls of `log` and `image` reach none."""
        while self._started:
            name = next(iter(self._started))
            self._calls(name, self._started.pop(name).finish, dict(summary))

    def _calls(self, name: str, call: Callable[..., object], *given: Any) -> bool:
        """Call a logger; return whether it succeeded, and print a note if it failed."""
        try:
            call(*given)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a logger does not end the run
            self.failed[name] = hide_known(f"{said_by(error)}{place_of(error)}", self._console.secrets)
            self._console.note(f"logger.{name} fails with {self.failed[name]}; the run continues without it")
        # An interrupt that the logger caught or turned into another error still counts.
        in_force().catch_up()
        return name not in self.failed
