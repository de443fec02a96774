"""Measure in eight minutes, unattended, what only a GPU can show; write docs/gpu.md.

    make gpu                       on a machine with CUDA: its own Python, and build/gpu-bundle for what that lacks
    make gpu ARGS="--only waits"   only this part; the page keeps what was measured before
    make gpu ARGS=--write          only write the page, from the results of earlier runs
    make gpu ARGS=--dry            a dry run on a CPU, with the minimum of everything; docs/ is not changed

Each part runs in its own process with its own time limit, forked from one that has imported what all need. A part that
fails, crashes or takes too long is recorded, and the others still run. Results are on disk at once: OUT/<part>.jsonl
has a line for each row, OUT/<part>.json the finished part; OUT is $OUT, or build/gpu. The exit code is 1 if a part did
not finish.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from on_gpu.page import about, write_page

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
BUNDLE = REPOSITORY / "build" / "gpu-bundle"
PAGE = REPOSITORY / "docs" / "gpu.md"
ALL_SECONDS = 480.0
# The parts in their order, each with its limit in seconds: the most important first, the slowest last.
LIMITS = {
    "versions": 10,
    "waits": 42,
    "steps": 26,
    "resume": 30,
    "tf32": 6,
    "saves": 10,
    "graph": 38,
    "evaluation": 16,
    "recompute": 49,
    "speed": 26,
    "first-step": 17,
    "residency": 16,
    "kernels": 12,
    "memory": 8,
    "ranks": 40,
    "kinds": 71,
    "compile": 60,
}
# The limit of a part in a dry run.
_DRY_SECONDS = 600.0
# What importing may take, once for all parts.
IMPORT_SECONDS = 60.0
# Packages whose import name differs from their wheel's name.
_MODULES = {"antlr4-python3-runtime": "antlr4", "hydra-core": "hydra", "pyyaml": "yaml"}


@dataclass(frozen=True)
class Walk:
    """The settings with which the parts are run."""

    device: str
    out: Path
    environment: dict[str, str]
    root: Path | None
    dry: bool
    about: dict[str, str] = field(default_factory=dict)

    def command(self, *parts: str, module: str = "on_gpu.part") -> list[str]:
        """Return the command that measures parts."""
        command = [sys.executable, "-m", module, *parts, "--device", self.device, "--out", str(self.out)]
        command += ["--root", str(self.root)] if self.root else []
        return command + (["--dry"] if self.dry else [])


class Server:
    """A process that forks one for each part; if it fails, parts run in processes of their own."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        with (walk.out / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                walk.command(module="on_gpu.server"),
                env=walk.environment,
                cwd=walk.out,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._works = self._answer(IMPORT_SECONDS) is not None

    def run(self, name: str, limit: float) -> dict[str, Any]:
        """Run a part to its end or its limit; return how it ended."""
        if self._works:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.write(json.dumps({"part": name, "limit": limit}).encode() + b"\n")
                self._process.stdin.flush()
            answer = self._answer(limit + 10)
            if answer is not None:
                return _ended(name, answer["code"], limit, answer["seconds"])
            self._works = False
        return run_part(self._walk, name, limit, self._walk.command(name))

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        """Return the next answer, or None if none comes in time."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return _row(self._process.stdout.readline().decode()) if ready else None

    def close(self) -> None:
        """End the process."""
        _end(self._process)


def run_part(walk: Walk, name: str, limit: float, command: Sequence[str]) -> dict[str, Any]:
    """Run a part to its end or its limit; return how it ended."""
    start = time.monotonic()
    with (walk.out / f"{name}.log").open("wb") as log:
        child = subprocess.Popen(
            command,
            env=walk.environment,
            cwd=walk.out,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            code: int | None = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        except BaseException:
            _end(child)
            raise
        _end(child)
    return _ended(name, code, limit, round(time.monotonic() - start, 1))


def _ended(name: str, code: int | None, limit: float, seconds: float) -> dict[str, Any]:
    """Return how a part ended; the code is None where its limit ended it."""
    how = "finished" if code == 0 else f"not finished after {limit:.0f} s" if code is None else f"exit code {code}"
    return {"part": name, "ok": code == 0, "ended": how, "seconds": seconds}


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill a part's process and everything that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, 9)
    child.wait()


def record(walk: Walk, ended: dict[str, Any]) -> None:
    """Write how a part ended, with its rows, and print it in a line."""
    path = walk.out / f"{ended['part']}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [row for line in lines if (row := _row(line)) is not None]
    failures = [row["row"] for row in rows if "error" in row]
    if failures and not ended["ok"] and not rows[-1].get("error"):
        failures.append(ended["ended"])
    with (walk.out / f"{ended['part']}.json").open("w", encoding="utf-8") as file:
        json.dump({**ended, **walk.about, "failed_rows": failures, "rows": rows}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    bad = f"; failed: {', '.join(failures)}" if failures else ""
    state = "ok    " if ended["ok"] and not failures else "FAILED"
    print(
        f"{state} {ended['part']:<11} {ended['seconds']:6.1f} s  {len(rows):3} rows  {ended['ended']}{bad}", flush=True
    )


def _row(line: str) -> dict[str, Any] | None:
    """Return a row, or None for a line that was being written when its process was killed."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return None


def unpack(bundle: Path, folder: Path) -> None:
    """Unpack the wheels that are missing here into a folder."""
    for wheel in sorted((bundle / "wheels").glob("*.whl")):
        name = wheel.name.split("-")[0].replace("_", "-").lower()
        if importlib.util.find_spec(_MODULES.get(name, name.replace("-", "_"))) is None:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)


def surroundings(bundle: Path, folder: Path) -> dict[str, str]:
    """Return the environment of the parts: this checkout's source, and the bundle for what this Python lacks."""
    unpack(bundle, folder)
    places = [str(REPOSITORY / "src"), str(HERE), str(folder), os.environ.get("PYTHONPATH", "")]
    more = {"PYTHONPATH": os.pathsep.join(filter(None, places)), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    cache = folder / "cache" / "torch" / "kernels"  # torch makes only the last of these
    cache.mkdir(parents=True, exist_ok=True)
    # Asking for a GPU through NVML leaves CUDA to the processes that are forked.
    more |= {"XDG_CACHE_HOME": str(folder / "cache"), "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    return dict(os.environ) | more | {"KINETO_LOG_LEVEL": "5"}


def find_root(given: Path | None, bundle: Path) -> Path | None:
    """Return the folder with MNIST: the command line's, the bundle's, or None."""
    if given is not None:
        return given.resolve()
    packed = bundle / "data"
    return packed if (packed / "MNIST" / "raw").is_dir() else None


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="a dry run on a CPU: two steps of everything")
    parser.add_argument("--only", nargs="+", choices=LIMITS, default=list(LIMITS), help="only these parts")
    parser.add_argument("--write", action="store_true", help="measure nothing; write the page from what is in OUT")
    parser.add_argument("--out", type=Path, default=None, help="default: $OUT, or build/gpu")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="default: build/gpu-bundle")
    parser.add_argument("--root", type=Path, default=None, help="contains MNIST/raw; default: the bundle's")
    parser.add_argument("--page", type=Path, default=None, help="default: docs/gpu.md; in a dry run OUT/gpu.md")
    options = parser.parse_args(arguments)
    options.out = (options.out or Path(os.environ.get("OUT") or REPOSITORY / "build" / "gpu")).resolve()
    if options.page is None:
        options.page = options.out / "gpu.md" if options.dry else PAGE
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, write the page, and return the exit code."""
    options = parse(arguments)
    if options.write:
        return 0 if _write(options) else 1
    options.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + ALL_SECONDS
    with tempfile.TemporaryDirectory(prefix="nnrun-gpu-", ignore_cleanup_errors=True) as folder:
        environment = surroundings(options.bundle.resolve(), Path(folder))
        device = "cpu" if options.dry else "cuda"
        root = find_root(options.root, options.bundle.resolve())
        walk = Walk(device, options.out, environment, root, options.dry, about())
        for name in options.only:
            for suffix in (".jsonl", ".json"):
                (walk.out / f"{name}{suffix}").unlink(missing_ok=True)
        if options.dry:
            walk.environment["OMP_NUM_THREADS"] = "1"
        server = Server(walk)
        try:
            for name in options.only:
                limit = min(LIMITS[name], max(1.0, deadline - time.monotonic()))
                if options.dry:
                    # A busy CPU must not look like a part that hangs.
                    limit = _DRY_SECONDS
                record(walk, server.run(name, limit))
                _write(options)
        finally:
            server.close()
    return 0 if _write(options) else 1


def _write(options: argparse.Namespace) -> bool:
    """Write the page, also beside the figures; return whether all parts finished."""
    for path in {options.page, options.out / "gpu.md"}:
        ended = write_page(path, options.out, list(LIMITS), "make gpu")
    return all(ended.get(name, False) for name in options.only)


if __name__ == "__main__":
    sys.exit(main())
