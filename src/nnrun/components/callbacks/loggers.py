"""Tell the loggers of a run. One that fails is named once, and is not called again: it never stops the run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from nnrun.base.deprecated import warn_about
from nnrun.base.foreign_errors import place_of, said_by
from nnrun.base.secrets import hide_known
from nnrun.base.signals import in_force
from nnrun.core.seams.training import Logger, RunInfo
from nnrun.runs.console import Console


class Loggers:
    """The loggers that have started, by name; `failed` says of each that failed why. Nobody else calls a logger.

    KeyboardInterrupt alone passes: it stops the run wherever it comes.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started: dict[str, Logger] = {}
        self.failed: dict[str, str] = {}

    def start(self, loggers: Mapping[str, Logger], run: RunInfo) -> None:
        """Start each, and keep those that did."""
        for name, logger in loggers.items():
            if self._calls(name, _start, logger, run):
                self._started[name] = logger

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Give values to each, to each a mapping of its own."""
        for name, logger in list(self._started.items()):
            if not self._calls(name, logger.log, step, dict(values)):
                del self._started[name]

    def image(self, step: int, name: str, image: Tensor) -> None:
        """Give an image to each that takes images."""
        for key, logger in list(self._started.items()):
            take = getattr(logger, "image", None)
            if take is not None and not self._calls(key, take, step, name, image):
                del self._started[key]

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Let each close; what is logged from now on reaches none."""
        while self._started:
            name = next(iter(self._started))
            self._calls(name, self._started.pop(name).finish, dict(summary))

    def _calls(self, name: str, call: Callable[..., object], *given: Any) -> bool:
        """Return whether a call of a logger returned; say why it did not."""
        try:
            call(*given)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a logger does not end the run
            self.failed[name] = hide_known(f"{said_by(error)}{place_of(error)}", self._console.secrets)
            self._console.note(f"logger.{name} fails with {self.failed[name]}; it is not called again, the run goes on")
        # What a logger made of an interrupt, or kept to itself, is one.
        in_force().catch_up()
        return name not in self.failed


def _start(logger: Any, run: RunInfo) -> None:
    """Start a logger; until 0.3.0 one was given the directory and the config."""
    parameters = inspect.signature(logger.start).parameters.values()
    if len([parameter for parameter in parameters if parameter.default is parameter.empty]) != 2:
        logger.start(run)
        return
    new = "nnrun.api.Logger.start(run), with run.directory and run.config,"
    warn_about(type(logger), "nnrun.api.Logger.start(run, config)", new, gone_in="0.6.0")
    logger.start(run.directory, run.config)
