"""Words of Hydra's plugins for sweeps, such as `hydra/sweeper=optuna`: ours that mean the same, or an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnrun.base.errors import Complaint, did_you_mean
from nnrun.base.secrets import redact_word
from nnrun.config.typed_paths import HYDRA_KEYS

# Options by group and name, and our words for them.
_OPTIONS: dict[str, dict[str, str]] = {
    "hydra/sweeper": {"basic": "sweep=grid", "optuna": "sweep=tpe"},
    "hydra/sweeper/sampler": {name: f"sweep={name}" for name in ("grid", "random", "tpe", "cmaes")},
    "hydra/launcher": {
        "basic": "launch=local sweep.parallel=1",
        "joblib": "launch=local",
        "submitit_local": "launch=local",
        "submitit_slurm": "launch=slurm",
    },
}
# Settings, and ours.
_SETTINGS: dict[str, str] = {
    "hydra.sweeper.n_trials": "sweep.trials",
    "hydra.sweeper.n_jobs": "sweep.parallel",
    "hydra.sweeper.sampler.seed": "sweep.seed",
    "hydra.launcher.n_jobs": "sweep.parallel",
    "hydra.launcher.timeout_min": "launch.minutes",
    "hydra.launcher.signal_delay_s": "launch.warning_seconds",
    "hydra.launcher.max_num_timeout": "launch.requeues",
    **{
        f"hydra.launcher.{name}": f"launch.{name}"
        for name in ("partition", "nodes", "gpus_per_node", "cpus_per_task", "mem_gb", "array_parallelism", "setup")
    },
}
# The prefix of settings that name what is searched, and of further parameters of sbatch.
_PARAMS, _ADDITIONAL = "hydra.sweeper.params.", "hydra.launcher.additional_parameters."
# More parameters of sbatch, which the launcher of Hydra takes by name.
_OF_SBATCH = ("account", "qos", "constraint", "comment", "exclude", "gres", "exclusive")
_SEARCHED = "name each setting with its values, such as optimizer.lr=tag(log,interval(1e-4,1e-1)), or list them in "
# What has no counterpart, and what to do instead, by the beginning of the key.
_ANSWERS: dict[str, str] = {
    "hydra.sweeper.direction": "the direction is that of early_stopping.monitor; early_stopping.mode= sets it",
    "hydra.sweeper.study_name": "a sweep keeps its study in its own folder; continue it with nnrun -m resume=FOLDER",
    "hydra.sweeper.storage": "a sweep keeps its study in its own folder; continue it with nnrun -m resume=FOLDER",
    "hydra.sweeper.max_batch_size": "a job starts as soon as another ends; sweep.parallel=N sets how many run at once",
    "hydra.sweeper.max_failure_rate": "failed jobs do not affect the others; sweep.fail_fast=true ends the sweep",
    "hydra.sweeper.search_space": f"{_SEARCHED}sweep.space of an experiment",
    "hydra.sweeper.custom_search_space": f"{_SEARCHED}sweep.space of an experiment",
    "hydra.sweeper.params": f"{_SEARCHED}sweep.space of an experiment",
    "hydra.sweep.subdir": "a job's directory is named after its number and its values; hydra.sweep.dir= is the folder "
    "of all jobs",
    "hydra.launcher.name": "a job is named after the folder of its sweep, which hydra.sweep.dir= names",
    "hydra.launcher.tasks_per_node": "a job is one process on its node",
    "hydra.launcher.submitit_folder": "the scripts and the output of the jobs are in the sweep's folder",
    "hydra.mode": "a sweep is started with nnrun -m",
    "hydra.searchpath": "a config folder is added with --config-dir=FOLDER",
    "hydra.job.chdir": "nnrun stays in the folder where it is started; hydra.run.dir= names the directory of a run",
    "hydra.verbose": "NNRUN_DEBUG=1 in the environment shows tracebacks",
    "hydra/job_logging": "--quiet prints only the directory; all messages are in run.log",
    "hydra/hydra_logging": "--quiet prints only the directory; all messages are in run.log",
}


def in_our_words(words: Sequence[str]) -> tuple[list[str], list[Complaint]]:
    """Return the words of a command line with those of Hydra's plugins as ours, and a complaint for each without one.

    A sampler says more than the sweeper that it belongs to, so it replaces it.
    """
    has_sampler = any(word.lstrip("+").startswith("hydra/sweeper/sampler=") for word in words)
    found: list[str] = []
    problems: list[Complaint] = []
    for word in words:
        key, equals, value = word.partition("=")
        name = key.lstrip("+")
        if not equals or not name.startswith(("hydra.", "hydra/")) or name in HYDRA_KEYS:
            found.append(word)
        elif not (has_sampler and name == "hydra/sweeper"):
            try:
                found += _ours(name, value)
            except ValueError as error:
                problems.append(Complaint(name, str(error)))
    return found, problems


def _ours(key: str, value: str) -> list[str]:
    """Return our words for one of Hydra's; raise ValueError with the way out where there are none."""
    if key in _OPTIONS:
        return _option(key, value.strip("'\"")).split()
    if key in _SETTINGS:
        every = value == "-1" and key.endswith("n_jobs")
        return [f"{_SETTINGS[key]}={'auto' if every else value}"]
    if key.startswith(_PARAMS):
        return [f"{key.removeprefix(_PARAMS)}={_unquoted(value)}"]
    if key.startswith(_ADDITIONAL):
        return [f"+launch.additional.{key.removeprefix(_ADDITIONAL)}={value}"]
    if (leaf := key.removeprefix("hydra.launcher.")) in _OF_SBATCH:
        return [f"+launch.additional.{leaf}={value}"]
    for start, answer in _ANSWERS.items():
        if key == start or key.startswith(f"{start}."):
            raise ValueError(f"{key} is not used here: {answer}")
    near = did_you_mean(key, (*_SETTINGS, *_OPTIONS, *HYDRA_KEYS))
    takes = f"of Hydra's settings, nnrun takes only {' and '.join(HYDRA_KEYS)}, and those of its sweepers and launchers"
    raise ValueError(f"{key} is not used here; {near or takes}")


def _option(group: str, name: str) -> str:
    """Return our words for an option of a group of Hydra's; raise ValueError where there are none."""
    if name in _OPTIONS[group]:
        return _OPTIONS[group][name]
    ours = "launch=" if group == "hydra/launcher" else "sweep="
    known = dict.fromkeys(word for words in _OPTIONS[group].values() for word in words.split() if word.startswith(ours))
    raise ValueError(f"{redact_word(f'{group}={name}')} has no counterpart here; choose one of {', '.join(known)}")


def _unquoted(value: str) -> str:
    """Return a value without the quotes that Hydra needs around a range that it must not expand itself."""
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted and any(mark in value for mark in "(,") else value


def answer_to_option(name: str) -> str:
    """Return what to write for an option of Hydra's in the defaults of a YAML file, such as `hydra/sweeper/optuna`."""
    group, _, option = name.rpartition("/")
    if group not in _OPTIONS:
        return ""
    try:
        words = _option(group, option)
    except ValueError as error:
        return str(error)
    ours, _, chosen = words.split()[0].partition("=")
    return f"{name} is not used here; write 'override /{ours}: {chosen}' in its place"


def answers_to_section(section: Mapping[str, Any]) -> list[str]:
    """Return what to do instead of each setting in the section `hydra` of a YAML file that has no effect here."""
    sweeper = section.get("sweeper") or {}
    stated = {"hydra.mode": section.get("mode"), "hydra.sweeper.params": sweeper.get("params")}
    stated["hydra.sweeper.max_batch_size"] = sweeper.get("max_batch_size")
    return [f"{key} in a YAML file is not used here: {_ANSWERS[key]}" for key, it in stated.items() if it is not None]


def our_names() -> Iterator[str]:
    """Yield the settings, and the words that choose an option, that Hydra's words are answered with."""
    yield from _SETTINGS.values()
    for options in _OPTIONS.values():
        for words in options.values():
            yield from (word.removesuffix("=1") for word in words.split())
