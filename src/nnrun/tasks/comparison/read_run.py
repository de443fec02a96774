"""What a run directory says of its run, without torch; nothing in it is trusted to be whole or of the right type."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnrun.base.errors import ConfigError
from nnrun.base.files import check_is_file, read_json
from nnrun.base.lock import is_locked
from nnrun.config.monitor import LOSS
from nnrun.config.tree import value_at
from nnrun.config.yaml_files import read_saved_sections
from nnrun.tasks.comparison.found import STATUS_NAME, FoundRun
from nnrun.tasks.comparison.rows import number_of, reached
from nnrun.tasks.comparison.yardstick import Yardstick

# States besides those of status.json: a process that ended without writing one, and files that cannot be read.
KILLED, DAMAGED, RUNNING, FINISHED = "killed", "damaged", "running", "finished"
_STATES = (FINISHED, RUNNING, "interrupted", "failed", "diverged")
# Settings of an invocation, and of what a run shows and writes: they do not change what is learned.
_OF_AN_INVOCATION = (
    *("task", "ckpt", "resume", "init_from", "input", "repeat", "trust", "runs", "output", "hydra", "report"),
    *("trainer.progress", "trainer.watch", "trainer.watch_every_steps", "trainer.profile", "trainer.test"),
)
_MOST_SETTINGS = 5_000
_MOST_WORDS_BYTES = 2**20
_MOST_CHARACTERS = 500


@dataclass(frozen=True, eq=False)
class Run:
    """A run, as its directory describes it. `reason` says why there is no result, or what is damaged."""

    path: Path
    state: str
    task: str | None = None
    reason: str | None = None
    is_named: bool = False
    is_link: bool = False
    has_status: bool = True
    # Whether a living process, of this machine or perhaps of another, may be writing there.
    may_be_running: bool = False
    started: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    monitor: str | None = None
    mode: str | None = None
    headline: str | None = None
    best: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    num_bytes: int = 0
    # The settings by full key; None where config.yaml cannot be read.
    settings: Mapping[str, Any] | None = None
    # The keys of the settings that the command line set.
    typed: frozenset[str] = frozenset()
    environment: Mapping[str, Any] = field(default_factory=dict)
    # Whether pages may show names and pictures of samples: `report.samples`.
    shows_samples: bool = True
    # Whether it was asked for pages at all: not with `report=none`.
    has_report: bool = True
    yardstick: Yardstick = field(default_factory=Yardstick)
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_measured(self) -> bool:
        """Whether the run finished with metrics."""
        return self.state == FINISHED and bool(self.metrics)

    @property
    def seed(self) -> Any:
        """The run's seed."""
        return None if self.settings is None else self.settings.get("seed")


def read(found: FoundRun) -> Run:
    """Return what a run directory says; whatever is in it, there is no error."""
    path, problems = found.path, list[str]()
    status, summary = _record(path / STATUS_NAME, problems), None
    state, may_be_running = state_in(path, status, problems)
    has_ended_well = state == FINISHED
    if has_ended_well or (path / "summary.json").is_file():
        summary = _record(path / "summary.json", problems)
    summary = summary or {}
    metrics = _metrics(summary.get("metrics"), problems)
    settings, tree = _settings(path / "config.yaml", problems)
    if has_ended_well and problems:
        state = DAMAGED if not metrics else state
    monitor = _text(summary.get("monitor")) or _text(value_at(tree, "early_stopping.monitor"))
    mode = _text(summary.get("mode"))
    reason = _text(status.get("reason")) if status else None
    if not has_ended_well and (progress := reached(path, monitor, mode)):
        reason = "; ".join(filter(None, (progress, reason)))
    return Run(
        path=path,
        state=state,
        task=_text((status or {}).get("task")) or _text(summary.get("task")),
        reason="; ".join(filter(None, (reason, *problems)))[:_MOST_CHARACTERS] or None,
        is_named=found.is_named,
        is_link=found.is_link,
        has_status=os.path.lexists(path / STATUS_NAME),
        may_be_running=may_be_running,
        started=_text((status or {}).get("started")),
        metrics=metrics,
        monitor=monitor,
        mode=mode if mode in ("min", "max") else "min" if monitor == LOSS else None,
        headline=_text(summary.get("headline")),
        best=_mapping(summary.get("best")),
        seconds=number_of(summary.get("wall_seconds")),
        num_bytes=bytes_in(path),
        settings=settings,
        typed=_typed(path / "overrides.yaml"),
        environment=_environment(path),
        shows_samples=value_at(tree, "report.samples") is not False,
        has_report="report" not in tree or tree["report"] is not None,
        yardstick=Yardstick.of(tree),
        details=_mapping(summary.get("details")),
    )


def state_in(path: Path, status: Mapping[str, Any] | None, problems: list[str]) -> tuple[str, bool]:
    """Return the state of a run, and whether a living process may be writing there."""
    locked = is_locked(path)
    if status is None:
        return (RUNNING if locked else DAMAGED), locked
    state = status.get("state")
    if state not in _STATES:
        problems.append(f"{STATUS_NAME} has no state that nnrun knows")
        return (RUNNING if locked else DAMAGED), locked
    if locked:
        return RUNNING, True
    if state != RUNNING:
        return state, False
    host = _text(status.get("host"))
    if host is not None and host != socket.gethostname():
        problems.append(f"running on {host}, says its {STATUS_NAME}")
        return RUNNING, True
    return KILLED, False


def _record(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """Return the mapping in a JSON file; None, with the problem noted, where there is none."""
    try:
        value = read_json(path)
    except FileNotFoundError:
        problems.append(f"no {path.name}")
        return None
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} cannot be read: {getattr(error, 'strerror', None) or error}")
        return None
    if not isinstance(value, dict):
        problems.append(f"{path.name} is not a mapping")
        return None
    return value


def _metrics(value: object, problems: list[str]) -> dict[str, float]:
    """Return the metrics of a summary that are numbers; a value that is null was NaN or infinite."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        problems.append("the metrics in summary.json are not a mapping")
        return {}
    found = {str(name): number for name, item in value.items() if (number := number_of(item)) is not None}
    if odd := [str(name) for name, item in value.items() if item is not None and str(name) not in found]:
        problems.append(f"{', '.join(odd[:3])} in summary.json is not a number")
    return found


def _settings(path: Path, problems: list[str]) -> tuple[dict[str, Any] | None, Mapping[str, Any]]:
    """Return the settings of a saved config by full key, and as a tree; None, with the problem, if it is unreadable."""
    try:
        tree = read_saved_sections(path)
    except FileNotFoundError:
        problems.append(f"no {path.name}")
        return None, {}
    except ConfigError as error:
        problems.append(str(error).replace(str(path), path.name))
        return None, {}
    flat: dict[str, Any] = {}
    for key, value in flattened(tree, ""):
        flat[key] = value
        if len(flat) > _MOST_SETTINGS:
            problems.append(f"{path.name} has more than {_MOST_SETTINGS:,} settings")
            return None, {}
    return flat, tree


def flattened(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield the settings below a key that say what a run is, each with its full key."""
    if key in _OF_AN_INVOCATION:
        return
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from flattened(value, f"{key}.{name}" if key else str(name))
    elif key:
        yield key, None if node == {} else node


def _typed(path: Path) -> frozenset[str]:
    """Return the keys of the settings that a run's command line set, as far as they can be read."""
    try:
        check_is_file(path)
        with path.open("rb") as file:
            lines = file.read(_MOST_WORDS_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(line.lstrip("- '\"+").partition("=")[0] for line in lines if "=" in line)


def _environment(path: Path) -> dict[str, Any]:
    """Return what may differ in the environment of a run: versions, device, and the state of the code."""
    try:
        found = _mapping(read_json(path / "environment.json"))
    except (OSError, ValueError):
        return {}
    versions = _mapping(found.get("versions"))
    named = {f"version of {name}": versions.get(name) for name in ("nnrun", "torch")}
    named |= {name: found.get(name) for name in ("python", "cpu", "device", "threads", "git_commit", "git_dirty")}
    return {name: value for name, value in named.items() if isinstance(value, str | int | float | bool)}


def bytes_in(folder: Path) -> int:
    """Return the size of a directory on disk; a file with several names is counted once, links are not followed."""
    total, seen, pending = 0, set[tuple[int, int]](), [str(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(found.st_mode):
                        pending.append(entry.path)
                    elif (found.st_dev, found.st_ino) not in seen:
                        if found.st_nlink > 1:
                            seen.add((found.st_dev, found.st_ino))
                        total += found.st_blocks * 512
        except OSError:
            continue
    return total


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
