"""Run nnrun's command line inside this process."""

from __future__ import annotations

import contextlib
import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnrun.base.errors import InterruptedRun
from nnrun.base.signals import StopRequest
from nnrun.cli import main


def run(folder: Path, *words: str, device: str) -> tuple[int, str]:
    """Run nnrun in a folder, quietly; return its exit code and the end of its output."""
    said = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main([*words, f"trainer.device={device}", "trainer.progress=false"])
    return code, said.getvalue().strip()[-400:]


def train(folder: Path, name: str, *words: str, device: str) -> dict[str, Any]:
    """Train in `folder/name`; return its summary. Raises RuntimeError if the exit code is not 0."""
    code, said = run(folder, *words, "export=none", f"hydra.run.dir={folder / name}", device=device)
    if code != 0:
        raise RuntimeError(f"{name}: exit code {code}: {said}")
    return read(folder / name / "summary.json")


def read(path: Path) -> dict[str, Any]:
    """Return a JSON file's object."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


@contextlib.contextmanager
def stopped_at(step: int) -> Iterator[None]:
    """Deliver a SIGTERM after `step` steps: at the same point in every run."""
    original, left = StopRequest.poll, step

    def counted(request: StopRequest) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise InterruptedRun(signal.SIGTERM)
        original(request)

    kind: Any = StopRequest
    kind.poll = counted
    try:
        yield
    finally:
        kind.poll = original
