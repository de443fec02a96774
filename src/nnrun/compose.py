"""The config of one invocation: from conf/, the user's own folder, the command line, or a checkpoint.

Hydra composes the groups; the values typed on the command line are laid on top here, so that one check sees every
mistake at once and not only Hydra's first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnrun.archive import peek
from nnrun.check import Reference, check
from nnrun.confdir import GROUPS, conf_dir, option_file, options
from nnrun.errors import ConfigError, did_you_mean
from nnrun.manifest import Located, locate
from nnrun.overrides import HYDRA_KEYS, Typed, ambiguous, parse_all
from nnrun.resolve import PLACEHOLDERS, explain_unresolvable, resolve
from nnrun.secrets import left_out
from nnrun.settings import NAMED_SECTIONS, TARGET_SECTIONS, RunSettings

# What belongs to an invocation, and not to the run that a checkpoint was saved in.
SOURCE_KEYS = ("ckpt", "resume", "init_from")
INVOCATION_KEYS = ("task", "ckpt", "resume", "init_from", "input", "trust")


@dataclass(frozen=True)
class Composed:
    """A config that passed the first tier of checks."""

    config: DictConfig
    typed: tuple[Typed, ...]
    checkpoint: Located | None
    own_targets: frozenset[str]
    run_dir: Path | None
    sweep_dir: Path | None

    def resolved(self, in_shape: Sequence[int] | None = None, num_classes: int | None = None) -> dict[str, Any]:
        """Return the config as plain values, with what the data turned out to be filled in.

        Without that, sections that refer to the data's shape hold placeholders, good enough to be checked.
        """
        if in_shape is not None:
            return resolve(self.config, {"in_shape": list(in_shape), "num_classes": num_classes})
        tree = resolve(self.config, PLACEHOLDERS)
        tree["data"] |= {key: OmegaConf.select(self.config, f"data.{key}") for key in PLACEHOLDERS}
        return tree

    def shown(self) -> dict[str, Any]:
        """Return the config as composed, references unresolved, for people to read."""
        tree = OmegaConf.to_container(self.config, resolve=False)
        assert isinstance(tree, dict)
        return tree  # type: ignore[return-value]

    def named(self, key: str) -> bool:
        """Return whether the command line names a key, or the section that it is in."""
        return any(key == item.key or key.startswith(item.key + ".") for item in self.typed)


def compose(words: Sequence[str], own: Sequence[Path] = ()) -> Composed:
    """Compose and check the config that the words of a command line ask for; `own` are the user's folders.

    Raises ConfigError with all that is wrong, ArtifactError where a checkpoint named cannot be trusted.
    """
    typed, problems = parse_all(words)
    problems += ambiguous(typed)
    groups, values = _split(typed)
    problems += _unknown_options(groups, own)
    known = [item for item in groups if not _unknown_options([item], own)]
    fresh, choices = _compose_groups(known, own)
    references = _references(choices, own)
    source = _source(values)
    checkpoint, config = None, fresh
    if source is not None:
        path = Path(str(source.value)).expanduser()
        if source.key == "resume" and path.is_file():
            raise ConfigError(f"resume={path} is a file; name its run directory, or start a new run with init_from=")
        checkpoint = locate(path, "last" if source.key == "resume" else "best")
        saved = peek(checkpoint.path)["config"]
    if source is not None and source.key != "init_from":
        problems += [f"{item.key}= and {source.key}= exclude each other" for item in groups if item.key == "experiment"]
        config = _from_checkpoint(saved, fresh, {item.key for item in known}, keep_export=source.key == "resume")
        references = _saved_references(saved) | {
            name: reference
            for name, reference in references.items()
            if name.partition(".")[0] in {g.key for g in known}
        }
    for item in values:
        problems += _lay(config, item)
    unresolvable = explain_unresolvable(config)
    tree = resolve(config, PLACEHOLDERS)
    problems += unresolvable.values()
    if config is not fresh:
        problems += [f"{key} is a secret, which no checkpoint holds; give it again" for key in left_out(tree)]
    problems += [problem for problem in check(tree, references) if problem.split(" ", 1)[0] not in unresolvable]
    if problems:
        raise ConfigError(*dict.fromkeys(problems))
    return Composed(
        config,
        tuple(typed),
        checkpoint,
        frozenset(_own_targets(tree, config is not fresh, {item.key for item in groups}, values)),
        _hydra_dir(typed, "hydra.run.dir"),
        _hydra_dir(typed, "hydra.sweep.dir"),
    )


def _source(values: Sequence[Typed]) -> Typed | None:
    """Return the word that names the checkpoint to start from; None too where the words exclude each other.

    What they exclude is reported by the check of the whole config, with all else that is wrong in it.
    """
    last = {item.key: item for item in values}
    named = [last[key] for key in SOURCE_KEYS if key in last and last[key].value is not None]
    trains_anew = "task" in last and last["task"].value == "train" and "ckpt" in last
    return named[0] if len(named) == 1 and not (trains_anew and named[0].key == "ckpt") else None


def _split(typed: Sequence[Typed]) -> tuple[list[Typed], list[Typed]]:
    """Return the words that choose options, and those that set values; Hydra's own and sweeps are neither."""
    plain = [item for item in typed if not item.is_sweep and item.key not in HYDRA_KEYS]
    return [item for item in plain if item.is_group], [item for item in plain if not item.is_group]


def _hydra_dir(typed: Sequence[Typed], key: str) -> Path | None:
    """Return the folder that a word such as hydra.run.dir= names, if any."""
    value = next((item.value for item in reversed(typed) if item.key == key), None)
    return None if value is None else Path(str(value)).expanduser()


def _unknown_options(groups: Sequence[Typed], own: Sequence[Path]) -> list[str]:
    """Return a message for each option that no folder has."""
    problems: list[str] = []
    for item in groups:
        known = options(item.key, own)
        names = item.value if isinstance(item.value, list) else [item.value]
        if isinstance(item.value, list) and item.key not in NAMED_SECTIONS:
            problems.append(f"{item.key} takes one option; there are {', '.join(known)}")
            continue
        if len(names) > 1 and "none" in names:
            problems.append(f"{item.word} names none beside another option; leave one of them out")
        for name in names:
            if str(name) not in known:
                hint = did_you_mean(str(name), known)
                there = f"there are {', '.join(known)}"
                problems.append(f"{item.key}={name} is not an option; {hint + ' ' if hint else ''}{there}")
    return problems


def _compose_groups(groups: Sequence[Typed], own: Sequence[Path]) -> tuple[DictConfig, dict[str, list[str]]]:
    """Return Hydra's composition of the chosen options, and which options were chosen for each group."""
    words = [f"{item.key}={_quoted(item.value)}" for item in groups]
    if own:
        words.append("hydra.searchpath=[" + ",".join(_quoted(f"file://{folder}") for folder in own) + "]")
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            whole = hydra_compose("config", words, return_hydra_config=True)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{mark.name}, line {mark.line + 1}" if mark else "a YAML file"
        raise ConfigError(f"{where}: {error.problem or error}") from error
    except RecursionError as error:
        raise ConfigError("the defaults of a YAML file lead back to itself; look at the options chosen") from error
    except UnicodeDecodeError as error:
        for path in (path for folder in own for path in sorted(folder.rglob("*.yaml"))):
            _read_option(path)  # raises for the one that is meant
        raise ConfigError(f"a YAML file is not text in UTF-8: {error}") from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(_hydra_message(error)) from error
    if "experiment" in whole:
        name = whole.hydra.runtime.choices.experiment
        raise ConfigError(f"experiment={name}: its file must begin with the line '# @package _global_'")
    HydraConfig.instance().set_config(whole)
    chosen = {group: whole.hydra.runtime.choices.get(group) for group in GROUPS}
    choices = {group: [name] if isinstance(name, str) else [] for group, name in chosen.items()}
    for item in groups:
        if isinstance(item.value, list):
            choices[item.key] = [str(name) for name in item.value]
    OmegaConf.set_struct(whole, False)
    del whole["hydra"]
    return whole, choices


def _quoted(value: Any) -> str:
    """Return an option, a list of them, or a path in Hydra's grammar."""
    if isinstance(value, list):
        return "[" + ",".join(_quoted(item) for item in value) + "]"
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _hydra_message(error: Exception) -> str:
    """Return the lines of an error of Hydra's that say what is wrong, without its pages of search path."""
    text = str(error)
    if missing := re.match(r"(?:In '(.*?)': )?Could not (?:find|load) '(.*?)'", text):
        place = "an option chosen" if missing[1] in (None, "config") else f"{missing[1]}.yaml"
        return f"{place} names {missing[2]} in its defaults, and there is no such option"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    cut = next(
        (i for i, line in enumerate(lines) if line.startswith(("Config search path", "full_key", "provider"))), 4
    )
    return " ".join(lines[: max(cut, 1)][:4])


def _references(choices: Mapping[str, list[str]], own: Sequence[Path]) -> dict[str, Reference]:
    """Return, for each section with a `_target_`, what the chosen option's file lists."""
    found: dict[str, Reference] = {}
    for group, names in choices.items():
        for name in names:
            path = option_file(group, name, own)
            if path is not None:
                content = _read_option(path)
                is_ours = path.parents[1] == conf_dir()
                found[f"{group}.{name}" if group in NAMED_SECTIONS else group] = Reference(content, is_ours)
                if isinstance(content.get("dataset"), dict):
                    found["data.dataset"] = Reference(content["dataset"], is_ours)
    return {name: reference for name, reference in found.items() if "_target_" in reference.values}


def _read_option(path: Path) -> dict[str, Any]:
    """Return what an option file holds; raise ConfigError unless that is settings."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(content, dict):
        kind = "a list" if isinstance(content, list) else "a single value"
        raise ConfigError(f"{path} holds {kind}, and must hold settings: lines of key: value")
    return content


def _saved_references(saved: Mapping[str, Any]) -> dict[str, Reference]:
    """Return the sections of a checkpoint's config as references: they list all that their targets take."""
    found = {}
    for name in TARGET_SECTIONS:
        node: Any = saved
        for part in name.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        if isinstance(node, Mapping):
            found[name] = Reference(node, complete=True)
    for group in NAMED_SECTIONS:
        sections = (saved.get(group) or {}).items()
        found |= {f"{group}.{name}": Reference(section, complete=True) for name, section in sections}
    return found


def _from_checkpoint(
    saved: Mapping[str, Any], fresh: DictConfig, named_groups: set[str], *, keep_export: bool
) -> DictConfig:
    """Return the saved config; what belongs to the invocation, and sections whose group is named, come from `fresh`.

    A group that names the class which was saved changes nothing: the values of its file are defaults, and defaults
    never win over what was saved.
    """
    config = OmegaConf.create(dict(saved))
    assert isinstance(config, DictConfig)
    for key in fresh:
        is_named = key in named_groups and (key in NAMED_SECTIONS or _target(fresh, key) != _target(config, key))
        if is_named or key not in config or key in INVOCATION_KEYS:
            config[key] = fresh._get_node(key)
        elif key in NAMED_SECTIONS and not keep_export and key not in named_groups:
            config[key] = {}
    return config


def _target(config: DictConfig, group: str) -> object:
    """Return the class that a group's section names; for one that names none, something equal to nothing else."""
    return OmegaConf.select(config, "data.dataset._target_" if group == "data" else f"{group}._target_") or object()


def _lay(config: DictConfig, item: Typed) -> list[str]:
    """Set the value of one typed word in the config; return what is wrong with the place it names."""
    parent = item.key.rpartition(".")[0]
    while parent:
        if OmegaConf.select(config, parent) is None and parent in _section_names():
            return [f"{item.key} has no effect: {parent} is none here; choose one of its options first"]
        parent = parent.rpartition(".")[0]
    try:
        OmegaConf.update(config, item.key, item.value, merge=True, force_add=True)
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        return [f"{item.key} cannot be set: {str(error).splitlines()[0]}"]
    return []


def _section_names() -> set[str]:
    """Return the names of the sections that can be null."""
    return {field.name for field in fields(RunSettings) if "None" in str(field.type) and field.name in GROUPS}


def _own_targets(
    tree: Mapping[str, Any], from_checkpoint: bool, named_groups: set[str], values: Sequence[Typed]
) -> list[str]:
    """Return the sections whose `_target_` the user's own YAML or command line names: their own code, to be trusted."""
    names = [*TARGET_SECTIONS, *(f"{group}.{name}" for group in NAMED_SECTIONS for name in tree.get(group) or {})]
    typed_targets = {item.key.removesuffix("._target_") for item in values if item.key.endswith("._target_")}
    return [
        name for name in names if not from_checkpoint or name.partition(".")[0] in named_groups or name in typed_targets
    ]
