"""A config before it is checked: the chosen options, the settings of a checkpoint, and the command line's on top.

Hydra composes only the groups. The values of the command line are set here, so that one check reports all mistakes and
not only Hydra's first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnrun.base.errors import Complaint
from nnrun.base.paths import expanded
from nnrun.checkpoints.aliases import current_name, with_current_names
from nnrun.checkpoints.saved_run import SavedNetwork
from nnrun.config.auto import Auto, read_autos
from nnrun.config.from_checkpoint import merge_saved, parameters_meant, saved_references
from nnrun.config.interpolation import KNOWN_LATE, resolve_path
from nnrun.config.meant import options_having
from nnrun.config.options import compose_groups, option_references, show_to_hydra, unknown_options
from nnrun.config.overrides import Typed
from nnrun.config.schema import OPTIONAL_SECTIONS
from nnrun.config.source import Source, lacking_words, read_source, source_word
from nnrun.config.target_sections import Reference
from nnrun.config.task import Task, task_called
from nnrun.config.typed_paths import HYDRA_KEYS, SOURCE_KEYS


@dataclass(frozen=True)
class Draft:
    """A config, the references for its sections with a `_target_`, and the groups that the command line chose."""

    config: DictConfig
    references: Mapping[str, Reference]
    chosen: set[str]
    # The groups that are `auto`; the config has the options that are assumed for them.
    autos: Mapping[str, Auto] = field(default_factory=dict)
    # The chosen options of each group; none where the config comes from a file.
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)


def split(typed: Sequence[Typed]) -> tuple[list[Typed], list[Typed]]:
    """Return the words that choose options, and those that set values, without Hydra's own and swept ones."""
    plain = [item for item in typed if not item.is_sweep and item.key not in HYDRA_KEYS]
    return [item for item in plain if item.is_group], [item for item in plain if not item.is_group]


def choose_options(typed: Sequence[Typed], own: Sequence[Path]) -> Draft:
    """Return Hydra's composition of the chosen options that exist, with the defaults of the other groups."""
    groups, _ = split(typed)
    known = [item for item in groups if not unknown_options([item], own)]
    config, choices = compose_groups(known, own)
    autos = read_autos(config, choices, own)
    _name_as_today(config)
    show_to_hydra(typed)
    assumed = {group: auto.reference(auto.assumed) for group, auto in autos.items()}
    return Draft(config, option_references(choices, own) | assumed, {item.key for item in known}, autos, choices)


def _name_as_today(config: DictConfig) -> None:
    """Give each class that a `_target_` names its current name, in place: the user's YAML may be older."""
    for *path, last in _old_names(OmegaConf.to_container(config, resolve=False)):
        node = reduce(getitem, path, config)
        node[last] = current_name(node[last])


def _old_names(node: Any) -> Iterator[list[Any]]:
    """Yield the path of each `_target_` in plain values that has another name today."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, dict | list):
            yield from ([key, *path] for path in _old_names(value))
        elif key == "_target_" and isinstance(value, str) and "${" not in value and value != current_name(value):
            yield [key]


def with_source_resolved(item: Typed, values: Sequence[Typed], fresh: DictConfig) -> Typed:
    """Return a word that names a checkpoint with its references resolved: it is read before the rest is composed."""
    if item.key not in SOURCE_KEYS or "${" not in str(item.value):
        return item
    config = fresh.copy()
    for other in values:
        lay(config, other)
    return replace(item, value=resolve_path(config, item.key, str(item.value)))


def find_source(values: Sequence[Typed], draft: Draft, tasks: Sequence[Task]) -> tuple[Source | None, list[Complaint]]:
    """Return the source that a word such as `ckpt=` names, if any, and complaints about words missing beside it.

    Raises ArtifactError where the source cannot be trusted.
    """
    last = {item.key: item.value for item in values}
    task = task_called(last.get("task", draft.config.task), tasks)
    word = source_word(values, task)
    if word is None:
        return None, []
    source = read_source(word, task, tasks)
    is_bare = source.key == "ckpt" and source.saved is not None and source.config is None
    return source, lacking_words(source.located.path, draft.chosen, task) if is_bare else []


def excluded_beside(source: Source, groups: Sequence[Typed]) -> list[Complaint]:
    """Complain of an experiment beside a saved config, since both set everything.

    With `repeat=` also of `data=`: the network of a run is made for the data that it was trained on.
    """
    if source.config is None:
        return []
    excluded = {"experiment": ""}
    if source.key == "repeat":
        excluded["data"] = ": the network of a run is made for its data; use data.root= if it has moved"
    return [
        Complaint(item.key, f"{item.key}= and {source.key}= exclude each other{excluded[item.key]}", (source.key,))
        for item in groups
        if item.key in excluded
    ]


def start_from(source: Source, fresh: Draft) -> Draft:
    """Return the saved config, if there is one, with the settings of this invocation and the options chosen for it.

    An evaluation exports only what is asked for.
    """
    if source.key == "ckpt" and "export" not in fresh.chosen:
        fresh.config.export = {}
    if source.config is None:
        return fresh
    # For a trained network, `auto` is the option that it became.
    groups = fresh.chosen - fresh.autos.keys()
    config = merge_saved(source.config, fresh.config, groups, keep_named=source.keeps_named)
    if source.key == "repeat":
        for key in KNOWN_LATE:
            config.data[key] = None
    chosen = {name: found for name, found in fresh.references.items() if name.partition(".")[0] in groups}
    return Draft(config, saved_references(source.config) | chosen, groups)


def built_as_before(source: Source, draft: Draft) -> None:
    """With `init_from=`, set parameters of the network that did not exist when the file was saved, as they were then.

    In place. The command line is applied later and takes precedence.
    """
    saved = source.saved.config.get("model") if isinstance(source.saved, SavedNetwork) else None
    section = draft.config.get("model")
    if source.key != "init_from" or not isinstance(saved, Mapping) or not OmegaConf.is_dict(section):
        return
    for name in parameters_meant(str(section.get("_target_"))):
        if saved.get("_target_") == section.get("_target_") and name in saved:
            section[name] = saved[name]


def lay_typed(draft: Draft, values: Sequence[Typed]) -> tuple[Draft, list[Complaint]]:
    """Set every value of the command line; return complaints about their keys."""
    autos = dict(draft.autos)
    problems: list[Complaint] = []
    for item in values:
        group = item.key.partition(".")[0]
        wrong = lay(draft.config, item)
        problems += wrong
        if group in autos and not wrong:
            autos[group] = autos[group].with_value(item.key, item.value)
    return replace(draft, autos=autos), problems


def lay(config: DictConfig, item: Typed) -> list[Complaint]:
    """Set the value of one word in the config; return complaints about its key."""
    parent = item.key.rpartition(".")[0]
    while parent:
        if OmegaConf.select(config, parent) is None and parent in OPTIONAL_SECTIONS:
            having = " or ".join(options_having(item.key))
            text = f"{item.key} has no effect with {parent}=none; choose {having or 'one of its options'} first"
            return [Complaint(item.key, text)]
        parent = parent.rpartition(".")[0]
    leaf = item.key.rpartition(".")[2]
    value = with_current_names({leaf: item.value})[leaf]
    try:
        OmegaConf.update(config, item.key, value, merge=True, force_add=True)
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        return [Complaint(item.key, f"{item.key} cannot be set: {str(error).splitlines()[0]}")]
    return []


def hydra_dir(typed: Sequence[Typed], key: str, config: DictConfig) -> Path | None:
    """Return the folder that a word such as hydra.run.dir= names, if any, with its references resolved."""
    value = next((item.value for item in reversed(typed) if item.key == key), None)
    return None if value is None else expanded(resolve_path(config, key, str(value)))


def folder_of_jobs(typed: Sequence[Typed], own: Sequence[Path]) -> Path | None:
    """Return the folder that hydra.sweep.dir names, if any; it cannot refer to values that the sweep varies."""
    words = [item for item in typed if item.key == "hydra.sweep.dir" and item.value is not None]
    if not words or "${" not in str(words[-1].value):
        return hydra_dir(words, "hydra.sweep.dir", OmegaConf.create())
    config = choose_options(typed, own).config
    for item in split(typed)[1]:
        lay(config, item)
    for item in typed:
        if item.is_sweep:
            OmegaConf.update(config, item.key, "???", force_add=True)
    return hydra_dir(words, "hydra.sweep.dir", config)
