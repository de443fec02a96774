"""The directory of a task that trains nothing and needs no torch: locked, described, with a status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nnrun.base.errors import BUG, NnrunError, ResourceError
from nnrun.base.lock import locked
from nnrun.base.secrets import redact, redact_word
from nnrun.base.signals import stop_request
from nnrun.config.composed import Composed
from nnrun.config.yaml_files import yaml_text
from nnrun.runs import directory as rundir
from nnrun.runs.console import Console
from nnrun.runs.directory import RunDir


@contextmanager
def plain_session(
    composed: Composed, words: Sequence[str], directory: Path | None, console: Console
) -> Iterator[RunDir]:
    """Yield a directory of its own for a task; its status says how the task ended."""
    name = composed.task.name
    path = directory or rundir.create(composed.run_dir, name)
    with stop_request() as stop, locked(path):
        out = RunDir(path)
        try:
            out.start(name)
            console.log_to(path / "run.log")
            config = yaml_text(redact(composed.shown(), known=composed.secrets))
            out.describe(config, yaml_text([redact_word(word, composed.secrets) for word in words]))
            yield out
            with stop.held():
                out.end("finished", 0, None)
        except BaseException as error:
            is_stop = isinstance(error, KeyboardInterrupt)
            code = getattr(error, "exit_code", 130 if is_stop else BUG)
            state = "interrupted" if is_stop else "failed"
            with stop.held(), suppress(ResourceError):
                out.end(state, code, str(error) if isinstance(error, NnrunError) else type(error).__name__)
            raise
        finally:
            console.close()
