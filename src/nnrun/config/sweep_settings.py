"""The settings of a sweep itself, of the groups `sweep` and `launch`: its jobs do not have them. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nnrun.base.errors import Complaint, ConfigError, did_you_mean
from nnrun.base.secrets import redact_word
from nnrun.config.draft import choose_options, lay, split
from nnrun.config.folders import OF_A_SWEEP
from nnrun.config.interpolation import resolve_or_explain
from nnrun.config.meant import options_having
from nnrun.config.options import unknown_options
from nnrun.config.overrides import Typed
from nnrun.config.rules import Rules
from nnrun.config.schema import LaunchSettings, SweepSettings, from_mapping
from nnrun.config.typed_sections import check_sections


@dataclass(frozen=True)
class SweepConfig:
    """The settings of a sweep, and those of its method and of its launcher, which their options state."""

    sweep: SweepSettings
    launch: LaunchSettings
    method: Mapping[str, Any]
    launcher: Mapping[str, Any]
    # The settings as plain values, for the record of the sweep.
    plain: Mapping[str, Any]
    # The seed of its jobs, where it is not swept.
    seed: int


def is_of_a_sweep(item: Typed) -> bool:
    """Return whether a word sets the sweep itself: it is no part of a job."""
    return item.key.partition(".")[0] in OF_A_SWEEP


def compose_sweep(typed: Sequence[Typed], own: Sequence[Path], rules: Rules) -> SweepConfig:
    """Return the settings of a sweep, from its words and the experiment that they choose.

    Raises ConfigError with all mistakes in them; those of the jobs are found when the jobs are composed.
    """
    problems = [
        Complaint(item.key, f"{redact_word(item.word)!r}: the settings of a sweep cannot be swept over")
        for item in typed
        if is_of_a_sweep(item) and item.is_sweep
    ]
    draft = choose_options(typed, own)
    named = [item for item in split(typed)[0] if item.key in OF_A_SWEEP]
    problems += unknown_options(named, own)
    stated = {group: _plain(draft.config.get(group)) for group in OF_A_SWEEP}
    for item in split(typed)[1]:
        wrong = lay(draft.config, item)
        problems += wrong if is_of_a_sweep(item) else []
    own_keys = {group: sorted(stated[group].keys() - {it.name for it in fields(cls)}) for group, cls in _TYPES.items()}
    tree, unresolvable = resolve_or_explain(draft.config)
    problems += [it for it in unresolvable if it.key.partition(".")[0] in OF_A_SWEEP]
    found = {group: tree[group] for group in OF_A_SWEEP}
    shared = {group: {k: v for k, v in found[group].items() if k not in own_keys[group]} for group in OF_A_SWEEP}
    problems += [
        Complaint(key, text) for group in OF_A_SWEEP for key, text in _unknown(group, shared[group], stated[group])
    ]
    shared = {group: {k: v for k, v in shared[group].items() if k in stated[group]} for group in OF_A_SWEEP}
    problems += check_sections(shared, rules)
    wrong_keys = {item.key for item in problems}
    for key, allowed in rules.ranges.items():
        group, _, name = key.partition(".")
        if group in found and name in found[group] and key not in wrong_keys and not allowed.holds(found[group][name]):
            problems.append(Complaint.of(key, found[group][name], allowed.allowed))
    place, of_option = found["launch"].get("place"), stated["launch"].get("place")
    if place != of_option and "launch.place" not in wrong_keys and rules.ranges["launch.place"].holds(place):
        problems.append(Complaint("launch.place", f"launch.place is {of_option!r} here; use launch={place}"))
    problems += [
        Complaint(item.key, f"{item.key} has no effect with launch={place}; it is about jobs on this machine")
        for item in typed
        if item.key in _OF_THIS_MACHINE and place != "local"
    ]
    problems += [
        Complaint(
            item.key, f"{item.key} has no effect with sweep.parallel=1: it is about jobs in processes of their own"
        )
        for item in typed
        if item.key in _OF_PROCESSES
        and (place, found["sweep"].get("parallel"), found["sweep"].get("stack")) == ("local", 1, False)
    ]
    if problems:
        raise ConfigError(*dict.fromkeys(problems))
    return SweepConfig(
        sweep=from_mapping(SweepSettings, shared["sweep"]),
        launch=from_mapping(LaunchSettings, shared["launch"]),
        method={key: found["sweep"][key] for key in own_keys["sweep"]},
        launcher={key: found["launch"][key] for key in own_keys["launch"]},
        plain=found,
        seed=tree["seed"] if isinstance(tree["seed"], int) else 0,
    )


def check_launch_typed(choices: Mapping[str, Sequence[str]]) -> None:
    """Raise ConfigError where YAML alone has a run start elsewhere; `choices` are the options of each group."""
    launch, experiment = (" ".join(choices.get(group, ())) for group in ("launch", "experiment"))
    if launch not in {"", "local"}:
        by = f"experiment={experiment}" if experiment else "a YAML file"
        text = f"launch={launch} is set by {by}: add launch={launch} to the command, or launch=local"
        raise ConfigError(Complaint("launch", text))


# Settings of jobs that share this machine.
_OF_THIS_MACHINE = ("sweep.parallel", "sweep.jobs_per_device", "sweep.stack")
_OF_PROCESSES = ("sweep.jobs_per_device", "sweep.job_minutes")
_TYPES: Mapping[str, type] = {"sweep": SweepSettings, "launch": LaunchSettings}


def _unknown(group: str, section: Mapping[str, Any], stated: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each key of a section that its option does not state, and what it may mean."""
    known = [f"{group}.{name}" for name in stated]
    for key in (f"{group}.{name}" for name in section if name not in stated):
        if having := options_having(key):
            yield key, f"{key} has no effect here; choose {' or '.join(having)} first"
        else:
            yield key, f"{key} is not a setting; {did_you_mean(key, known) or 'available: ' + ', '.join(known)}"


def _plain(section: Any) -> dict[str, Any]:
    """Return a section with its references unresolved."""
    return OmegaConf.to_container(section, resolve=False) if OmegaConf.is_dict(section) else {}  # type: ignore[return-value]
