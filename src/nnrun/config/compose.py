"""The config of one invocation: from conf/, the user's own folder, the command line, or a checkpoint.

Hydra composes the groups; the values typed on the command line are laid on top here, so that one check sees every
mistake at once and not only Hydra's first.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnrun.base.errors import Complaint, ConfigError
from nnrun.base.paths import expanded
from nnrun.base.secrets import is_secret, left_out, secrets_in
from nnrun.checkpoints.locate import Located
from nnrun.checkpoints.model_card import paths_left_out
from nnrun.config.data_settings import unread_root
from nnrun.config.from_checkpoint import fault, merge_saved, own_targets, saved_references
from nnrun.config.interpolation import PLACEHOLDERS, explain_unresolvable, resolve, resolve_path
from nnrun.config.no_effect import idle_settings
from nnrun.config.options import compose_groups, option_references, show_to_hydra, unknown_options
from nnrun.config.overrides import HYDRA_KEYS, Typed, ambiguous, parse_all
from nnrun.config.rules import Rules
from nnrun.config.schema import NAMED_SECTIONS, OPTIONAL_SECTIONS, TARGET_SECTIONS
from nnrun.config.source import SOURCE_KEYS, Source, lacking_words, read_source, source_word
from nnrun.config.task import Task, misfits, task_called
from nnrun.config.validate import check

# How a value of the environment is referred to.
_ENVIRONMENT = re.compile(r"\$\{oc\.env:\s*(\w+)")


@dataclass(frozen=True)
class Composed:
    """A config that passed the first tier of checks; `own` are the user's own folders of options."""

    task: Task
    config: DictConfig
    typed: tuple[Typed, ...]
    source: Source | None
    own_targets: frozenset[str]
    run_dir: Path | None
    own: tuple[Path, ...]

    @property
    def checkpoint(self) -> Located | None:
        """The file that `ckpt=`, `resume=` or `init_from=` stands for, whole."""
        return self.source.checkpoint if self.source else None

    @property
    def weights_alone(self) -> bool:
        """Whether that file is a state dict, from elsewhere or exported, and no checkpoint."""
        return self.source is not None and self.source.weights_alone

    @property
    def saved_in(self) -> Path | None:
        """The checkpoint that the config came out of, if it did."""
        return self.source.saved_in if self.source else None

    @property
    def artifact(self) -> Path | None:
        """The exported network that `ckpt=` names instead of a checkpoint."""
        return self.source.checkpoint.path if self.source and self.source.is_artifact else None

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

    @functools.cached_property
    def secrets(self) -> frozenset[str]:
        """Every secret text of the config, those that come out of the environment too."""
        shown = self.shown()
        variables = _ENVIRONMENT.findall(str(shown))
        found = {os.environ[name] for name in variables if is_secret(name) and os.environ.get(name)}
        return secrets_in(self.resolved()) | secrets_in(shown) | found

    def named(self, key: str) -> bool:
        """Return whether the command line names a key, or the section that it is in."""
        return any(key == item.key or key.startswith(item.key + ".") for item in self.typed)

    @property
    def notes_on_unread(self) -> list[str]:
        """What is said of each setting of the command line that the task does not read."""
        task = self.task
        if self.artifact is not None:
            task = replace(task, unread=("model", *task.unread))
        if self.weights_alone and self.saved_in is None:
            # How samples are prepared is in no file then, and is the data's.
            task = replace(task, reads_of_unread=(*task.reads_of_unread, "data.dataset.mean", "data.dataset.std"))
        return [f"{item.key} has no effect with {task.words}" for item in self.typed if not task.reads(item.key)]


def compose_config(words: Sequence[str], own: Sequence[Path], rules: Rules) -> Composed:
    """Compose and check the config that the words of a command line ask for; `own` are the user's folders.

    Raises ConfigError with all that is wrong, ArtifactError where a checkpoint named cannot be trusted.
    """
    typed, problems = parse_all(words)
    problems += ambiguous(typed)
    groups, values = _split(typed)
    problems += unknown_options(groups, own)
    known = [item for item in groups if not unknown_options([item], own)]
    chosen = {item.key for item in known}
    fresh, choices = compose_groups(known, own)
    config, references = fresh, option_references(choices, own)
    show_to_hydra(typed)
    values = [_resolved_source(item, values, fresh) for item in values]
    asked = task_called(next((item.value for item in reversed(values) if item.key == "task"), fresh.task), rules.tasks)
    named = source_word(values, asked)
    source = read_source(named, asked, rules.tasks) if named is not None else None
    if source is not None and source.key == "ckpt" and source.saved is None and not source.is_artifact:
        problems += lacking_words(source.checkpoint.path, chosen, asked)
    if source is not None and source.key == "ckpt" and "export" not in chosen:
        config.export = {}
    if source is not None and source.saved is not None:
        problems += [
            Complaint(item.key, f"{item.key}= and {source.key}= exclude each other", (source.key,))
            for item in groups
            if item.key == "experiment"
        ]
        config = merge_saved(source.saved, fresh, chosen, keep_export=source.key == "resume")
        named_here = {name: found for name, found in references.items() if name.partition(".")[0] in chosen}
        references = saved_references(source.saved) | named_here
    for item in values:
        problems += _lay(config, item)
    unresolvable = explain_unresolvable(config)
    tree = resolve(config, PLACEHOLDERS)
    problems += unresolvable
    task = rules.task_of(tree)
    if config is not fresh:
        used = tree if task is None or task.builds is None else {key: tree[key] for key in tree if key in task.builds}
        problems += [
            Complaint(key, f"{key} is a secret, which no checkpoint holds; give it again") for key in left_out(used)
        ]
        problems += [
            Complaint(key, f"{key} is a path, which no exported file holds; give it again: {key}=")
            for key in paths_left_out(used)
            if key != "data.dataset.root"
        ]
    problems += misfits(typed, tree, rules.tasks) + idle_settings(typed, tree, task)
    if task is None or task.builds_section("data.dataset"):
        problems += unread_root(typed, tree)
    null = {item.key for item in unresolvable}
    wrong = [item for item in check(tree, references, rules) if item.key not in null]
    if problems:
        raise ConfigError(*dict.fromkeys([*problems, *wrong]))
    if wrong:
        raise fault(list(dict.fromkeys(wrong)), source.saved_in if source else None, typed)
    own_sections = own_targets(tree, config is not fresh, {item.key for item in groups}, values)
    run_dir = hydra_dir(typed, "hydra.run.dir", config)
    assert task is not None
    _leave_out(config, task)
    return Composed(task, config, tuple(typed), source, frozenset(own_sections), run_dir, tuple(own))


def _leave_out(config: DictConfig, task: Task) -> None:
    """Take the sections out of a config that a task builds nothing of: what they name may be nowhere to be had."""
    for name in (*TARGET_SECTIONS, *NAMED_SECTIONS):
        if not task.builds_section(name):
            OmegaConf.update(config, name, None if name == "scheduler" else {}, merge=False)


def _split(typed: Sequence[Typed]) -> tuple[list[Typed], list[Typed]]:
    """Return the words that choose options, and those that set values; Hydra's own and sweeps are neither."""
    plain = [item for item in typed if not item.is_sweep and item.key not in HYDRA_KEYS]
    return [item for item in plain if item.is_group], [item for item in plain if not item.is_group]


def hydra_dir(typed: Sequence[Typed], key: str, config: DictConfig) -> Path | None:
    """Return the folder that a word such as hydra.run.dir= names, if any, references in it resolved."""
    value = next((item.value for item in reversed(typed) if item.key == key), None)
    return None if value is None else expanded(resolve_path(config, key, str(value)))


def _resolved_source(item: Typed, values: Sequence[Typed], fresh: DictConfig) -> Typed:
    """Return a word that names a checkpoint with the references in it resolved: it is read before all else is known."""
    if item.key not in SOURCE_KEYS or "${" not in str(item.value):
        return item
    config = fresh.copy()
    for other in values:
        _lay(config, other)
    return replace(item, value=resolve_path(config, item.key, str(item.value)))


def folder_of_jobs(typed: Sequence[Typed], own: Sequence[Path]) -> Path | None:
    """Return the folder that hydra.sweep.dir names, if any; what the sweep varies is not known in it."""
    words = [item for item in typed if item.key == "hydra.sweep.dir" and item.value is not None]
    if not words or "${" not in str(words[-1].value):
        return hydra_dir(words, "hydra.sweep.dir", OmegaConf.create())
    groups, values = _split(typed)
    config, _ = compose_groups([item for item in groups if not unknown_options([item], own)], own)
    show_to_hydra(typed)
    for item in values:
        _lay(config, item)
    for item in typed:
        if item.is_sweep:
            OmegaConf.update(config, item.key, "???", force_add=True)
    return hydra_dir(words, "hydra.sweep.dir", config)


def _lay(config: DictConfig, item: Typed) -> list[Complaint]:
    """Set the value of one typed word in the config; return what is wrong with the place it names."""
    parent = item.key.rpartition(".")[0]
    while parent:
        if OmegaConf.select(config, parent) is None and parent in OPTIONAL_SECTIONS:
            text = f"{item.key} has no effect: {parent} is none here; choose one of its options first"
            return [Complaint(item.key, text)]
        parent = parent.rpartition(".")[0]
    try:
        OmegaConf.update(config, item.key, item.value, merge=True, force_add=True)
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        return [Complaint(item.key, f"{item.key} cannot be set: {str(error).splitlines()[0]}")]
    return []
