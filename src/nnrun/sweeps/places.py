"""The ways to search and the places to run, by name: each is imported only if a sweep uses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from nnrun.base.errors import Complaint, ConfigError
from nnrun.config.overrides import Typed
from nnrun.config.rules import Rules
from nnrun.config.schema import SweepSettings
from nnrun.config.sweep_settings import SweepConfig
from nnrun.runs.console import Console
from nnrun.sweeps.seams import Decision, Launcher, Progress, Search
from nnrun.sweeps.workers.starter import end_unused

# A class or function `(SearchSetup) -> Search`, by `method` in the option of the group `sweep`.
SEARCHES = {
    "grid": "nnrun.sweeps.grid.Grid",
    **dict.fromkeys(("random", "tpe", "gp", "cmaes"), "nnrun.sweeps.search.made.make_search"),
}
# A class or function `(LaunchSetup) -> Launcher`, by `place` in the option of the group `launch`; those of this machine
# by how its jobs share it.
LAUNCHERS = {
    "one_by_one": "nnrun.sweeps.one_by_one.OneByOne",
    "side_by_side": "nnrun.sweeps.workers.side_by_side.side_by_side",
    "slurm": "nnrun.sweeps.slurm.launch",
}
# A function `(Place, own, rules, note) -> result` that starts a single run there, by `place`, where one can start.
SINGLE = {
    "slurm": "nnrun.sweeps.slurm_run.run_in_slurm",
}
# A class `(LaunchSetup, Launcher) -> Launcher`: it trains jobs together where it can, and leaves the others.
STACK = "nnrun.sweeps.stack.launcher.StackLauncher"
# A function of a place's settings that raises an error where it cannot run jobs of a sweep from here, with those.
CHECKS = {
    "slurm": "nnrun.sweeps.slurm_queue.check_jobs",
}


@dataclass(frozen=True)
class SearchSetup:
    """What a search is built from."""

    # The settings that all methods share, and those of the method's own option, by name without `sweep.`.
    settings: SweepSettings
    own_settings: Mapping[str, Any]
    # What is searched: the swept words, with their choices or, as typed in `word`, another form of Hydra's grammar.
    axes: Sequence[Typed]
    # What the words of a job are, given what was chosen for it.
    words_with: Callable[[Mapping[str, str]], list[str]]
    # The seed of the jobs.
    seed: int
    # The user's config folders.
    own: Sequence[Path]
    rules: Rules


@dataclass(frozen=True)
class LaunchSetup:
    """What a launcher is built from."""

    settings: SweepSettings
    # The settings of the launcher's own option, by name without `launch.`.
    own_settings: Mapping[str, Any]
    # The folder of the sweep, and the user's config folders.
    folder: Path
    own: Sequence[Path]
    rules: Rules
    console: Console
    # For a launcher that runs jobs in this process: what a job that reports shall do.
    decide: Callable[[Progress], Decision]
    # Whether a job waits for a decision after each validation.
    awaits: bool
    # Once the jobs are listed: how many there are, and the section `trainer` of each whose config is at hand.
    num_jobs: Callable[[], int]
    trainers: Callable[[], Sequence[Mapping[str, Any]]]


def search_of(config: SweepConfig, setup: SearchSetup) -> Search:
    """Return the search that the settings choose."""
    return named(SEARCHES[config.sweep.method])(setup)  # type: ignore[no-any-return]


def check_place(config: SweepConfig) -> None:
    """Raise an error where a place lacks what it needs, or cannot do what is set, before the sweep has a folder."""
    if check := CHECKS.get(config.launch.place):
        named(check)(config.launcher)


def launcher_of(config: SweepConfig, setup: LaunchSetup) -> Launcher:
    """Return the launcher that the settings choose; raise ConfigError where it cannot do what they say."""
    stack, is_here = config.sweep.stack, config.launch.place == "local"
    if stack is True and not is_here:
        text = f"sweep.stack=true has no effect with launch={config.launch.place}; remove it"
        raise ConfigError(Complaint("sweep.stack", text))
    if stack is True and config.sweep.job_minutes is not None:
        text = "sweep.job_minutes has no effect on jobs that are trained together; remove it, or sweep.stack=true"
        raise ConfigError(Complaint("sweep.job_minutes", text))
    here = "one_by_one" if is_one_by_one(config) else "side_by_side"
    name = here if config.launch.place == "local" else config.launch.place
    if name != "side_by_side":
        end_unused()
    launcher = named(LAUNCHERS[name])(setup)
    is_stacked = stack and is_here and config.sweep.job_minutes is None
    return named(STACK)(setup, launcher) if is_stacked else launcher  # type: ignore[no-any-return]


def is_one_by_one(config: SweepConfig) -> bool:
    """Return whether the jobs run one after another in this process, and print what they do."""
    return config.launch.place == "local" and config.sweep.parallel == 1


def named(path: str) -> Callable[..., Any]:
    """Import and return the class or function that a dotted name means."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)  # type: ignore[no-any-return]
