"""Call the loggers of a run. One that fails or hangs is named once and left behind; it never stops the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from nnrun.base.ending import leave_threads_behind
from nnrun.base.foreign_errors import place_of, said_by
from nnrun.base.secrets import hide_known
from nnrun.base.shown import counted
from nnrun.components.callbacks.logger_thread import CALL_SECONDS, MOST_WAITING, START_SECONDS, LoggerThread
from nnrun.core.seams.data import Tree
from nnrun.core.seams.training import Histogram, Logger, RunInfo
from nnrun.runs.console import Console


class Loggers:
    """The loggers that have started, by name, each in a thread of its own; `failed` has why each was left behind.

    Of their exceptions only KeyboardInterrupt passes, with the next call: it stops the run.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started: dict[str, LoggerThread] = {}
        self.failed: dict[str, str] = {}

    def start(self, loggers: Mapping[str, Logger], run: RunInfo) -> None:
        """Start each logger, one after the other, and wait for each: they import libraries. Keep those that start."""
        for name, logger in loggers.items():
            self._start(name, LoggerThread(logger), run)

    def _start(self, name: str, thread: LoggerThread, run: RunInfo) -> None:
        """Start a logger, and keep it if it starts.

        It is kept before that: a signal may arrive when it has started, and then it is told how the run ends.
        """
        self._started[name] = thread
        thread.call("start", run)
        if thread.wait(START_SECONDS, lambda: self._tell(name, "start", START_SECONDS)):
            self._check(name, thread)
        else:
            self._leave(name, thread, f"start has not returned for {START_SECONDS:.0f} s")
            del self._started[name]

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Pass values to each logger, each time in a new mapping; do not wait for it."""
        for name, thread in self._well():
            thread.call("log", step, dict(values))
            self._check(name, thread)

    def image(self, step: int, name: str, image: Tensor) -> None:
        """Pass an image to each logger that has a method `image`; the image must not change afterwards."""
        self._call_optional("image", step, name, image)

    def graph(self, outline: Callable[[], tuple[nn.Module, Tree]]) -> None:
        """Pass the structure of the network, on torch's `meta` device, to each logger that has a method `graph`."""
        if not self.take("graph"):
            return
        try:
            network, example = outline()
        except Exception as error:  # a network of another's may not be copied
            self._console.note(f"the loggers get no graph of the network: {said_by(error)}{place_of(error)}")
            return
        self._call_optional("graph", network, example)

    def histograms(self, step: int, values: Mapping[str, Histogram]) -> None:
        """Pass histograms to each logger that has a method `histograms`; skip those that are too slow for them."""
        self._call_optional("histograms", step, values, is_large=True)

    def take(self, method: str) -> bool:
        """Return whether a logger has an optional method: its arguments need not be computed otherwise."""
        return any(thread.takes(method) for thread in self._started.values())

    def keep_pace(self) -> None:
        """Wait for loggers that have many calls waiting: for code that is not a training."""
        for name, thread in self._well():
            thread.wait(CALL_SECONDS, num_left=MOST_WAITING // 2)
            self._check(name, thread)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Finish the loggers, all at the same time, and wait for each; later calls of `log` and `image` reach none."""
        threads, self._started = self._started, {}
        finishing = {name: thread for name, thread in threads.items() if thread.has_started}
        for thread in threads.values():
            if not thread.has_started:  # a signal arrived while it started, and it may be stuck in that
                thread.leave()
                leave_threads_behind()
            else:
                thread.call("finish", dict(summary))
        try:
            for name, thread in finishing.items():
                self._finish(name, thread)
        except BaseException:  # a second Ctrl-C does not wait for the rest
            leave_threads_behind()
            raise

    def _finish(self, name: str, thread: LoggerThread) -> None:
        """Wait for a logger to finish; say what it was too slow for."""
        seconds = thread.finish_seconds
        if not thread.wait(seconds, lambda: self._tell(name, "finish", seconds)):
            self._leave(name, thread, thread.fault() or f"it has not finished in {seconds:.0f} s")
        elif self._is_well(name, thread) and thread.num_skipped:
            skipped = counted(thread.num_skipped, "set of histograms", "sets of histograms")
            self._console.note(f"logger.{name} was too slow for {skipped}, which it did not get")

    def _well(self) -> list[tuple[str, LoggerThread]]:
        """Return the loggers that still work; report and drop those that failed or hang since the last call."""
        for name, thread in list(self._started.items()):
            self._check(name, thread)
        return list(self._started.items())

    def _check(self, name: str, thread: LoggerThread) -> None:
        """Report and drop a logger that failed or hangs."""
        if not self._is_well(name, thread):
            del self._started[name]
        elif fault := thread.fault():
            self._leave(name, thread, fault)
            del self._started[name]

    def _call_optional(self, method: str, *given: Any, is_large: bool = False) -> None:
        """Call a method of the loggers that have it."""
        for _, thread in self._well():
            if thread.takes(method):
                thread.call(method, *given, is_large=is_large)

    def _is_well(self, name: str, thread: LoggerThread) -> bool:
        """Return whether a logger has not failed; print a note if it has. Raise a KeyboardInterrupt of its own."""
        thread.check()
        error = thread.error
        if error is not None:
            self._name(name, f"{said_by(error)}{place_of(error)}")
        return error is None

    def _leave(self, name: str, thread: LoggerThread, fault: str) -> None:
        """Leave a logger behind that does not return; its thread may stay until the process ends."""
        thread.leave()
        leave_threads_behind()
        self._name(name, fault)

    def _name(self, name: str, fault: str) -> None:
        """Print a note on a logger that is left behind."""
        self.failed[name] = hide_known(fault, self._console.secrets)
        self._console.note(f"logger.{name} fails with {self.failed[name]}; the run continues without it")

    def _tell(self, name: str, method: str, seconds: float) -> None:
        """Say for what the run waits, and how long at most."""
        self._console.say(f"waiting for logger.{name} to {method}, at most {seconds:.0f} s")
