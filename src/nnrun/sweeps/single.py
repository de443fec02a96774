"""Where a single run starts: on this machine, or at the place that `launch` chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.base.errors import Complaint, ConfigError
from nnrun.config.draft import choose_options
from nnrun.config.overrides import Typed, parse_all
from nnrun.config.rules import Rules
from nnrun.config.sweep_settings import check_launch_typed, compose_sweep
from nnrun.sweeps.places import SINGLE, named


@dataclass(frozen=True)
class Place:
    """Where a run is to start, as the words of its command say."""

    name: str
    # Its settings, by name without `launch.`, and those that the command names.
    settings: Mapping[str, Any]
    typed: Sequence[str]
    # The other words of the command.
    words: list[str]


def place_of(words: Sequence[str], own: Sequence[Path], rules: Rules) -> Place:
    """Return where the words of a command line start their run; raise ConfigError where they are wrong about it."""
    typed, problems = parse_all(words, [task.name for task in rules.tasks if task.is_named], own)
    if problems:
        raise ConfigError(*problems)
    config = compose_sweep([item for item in typed if not _is_of("sweep", item)], own, rules)
    if all(item.key != "launch" for item in typed):
        check_launch_typed(choose_options(typed, own).choices)
    name = config.launch.place
    if name != "local" and name not in SINGLE:
        raise ConfigError(Complaint("launch", f"launch={name} starts jobs of a sweep: add -m"))
    about = [item.key for item in typed if item.key.startswith("launch.")]
    return Place(name, config.launcher, about, [item.word for item in typed if not _is_of("launch", item)])


def run_at(place: Place, own: Sequence[Path], rules: Rules, note: str | None) -> Mapping[str, Any] | None:
    """Start a run at a place other than this machine; return its result, or raise its error."""
    return named(SINGLE[place.name])(place, own, rules, note)  # type: ignore[no-any-return]


def _is_of(group: str, item: Typed) -> bool:
    return item.key.partition(".")[0] == group
