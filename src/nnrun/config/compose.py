"""The config of one invocation, composed and checked: all that is wrong is found at once, and said together."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from nnrun.base.errors import Complaint, ConfigError
from nnrun.base.secrets import is_secret, left_out, secrets_in
from nnrun.checkpoints.locate import Located
from nnrun.checkpoints.model_card import paths_left_out
from nnrun.checkpoints.saved_run import SavedRun, SavedWeights
from nnrun.config.auto import AUTO, Auto, Claim, become, claims, claims_of_data, fitting_kinds, targets_of, tell_data
from nnrun.config.data_settings import unread_root
from nnrun.config.draft import (
    Draft,
    choose_options,
    excluded_beside,
    find_source,
    hydra_dir,
    lay_typed,
    split,
    start_from,
    with_source_resolved,
)
from nnrun.config.from_checkpoint import fault, own_targets
from nnrun.config.interpolation import KNOWN_LATE, explain_unresolvable, placeholders, resolve
from nnrun.config.monitor import check_monitor
from nnrun.config.no_effect import idle_settings, trial_notes
from nnrun.config.options import unknown_options
from nnrun.config.overrides import SOURCE_KEYS, Typed, ambiguous, parse_all
from nnrun.config.rules import Rules
from nnrun.config.schema import NAMED_SECTIONS, TARGET_SECTIONS
from nnrun.config.source import Source
from nnrun.config.target_sections import Reference, References
from nnrun.config.task import Task, misfits
from nnrun.config.tree import is_within
from nnrun.config.validate import check

# How a value of the environment is referred to.
_ENVIRONMENT = re.compile(r"\$\{oc\.env:\s*(\w+)")


@dataclass(frozen=True)
class Composed:
    """A config that passed the first tier of checks, and where it came from."""

    task: Task
    config: DictConfig
    # The words of the command line.
    typed: tuple[Typed, ...]
    # What `ckpt=`, `resume=` or `init_from=` names.
    source: Source | None
    # The sections whose `_target_` the user's own YAML or command line names: their own code, to be trusted.
    own_targets: frozenset[str]
    # What `hydra.run.dir=` names.
    run_dir: Path | None
    # The user's own folders of options.
    own: tuple[Path, ...]
    # What cannot act only because `trainer=debug` cuts the run short.
    trial_notes: tuple[str, ...]
    # What the config was checked against.
    rules: Rules
    references: References
    # The groups whose option follows from the data, what the config says of its data, and the kinds that fit that.
    autos: Mapping[str, Auto]
    stated: tuple[Claim, ...]
    kinds: tuple[str, ...]

    @property
    def located(self) -> Located | None:
        """The file that `ckpt=`, `resume=` or `init_from=` stands for, whole."""
        return self.source.located if self.source else None

    def _saved(self, key: str) -> SavedWeights | None:
        """Return what the file says that a key names."""
        return self.source.saved if self.source and self.source.key == key else None

    @property
    def evaluated(self) -> SavedWeights | None:
        """What `ckpt=` names: a checkpoint, or weights alone; no exported network."""
        return self._saved("ckpt")

    @property
    def resumed(self) -> SavedRun | None:
        """The checkpoint that `resume=` goes on from."""
        saved = self._saved("resume")
        return saved if isinstance(saved, SavedRun) else None

    @property
    def start(self) -> SavedWeights | None:
        """What `init_from=` names: a checkpoint, or weights alone."""
        return self._saved("init_from")

    @property
    def weights_alone(self) -> bool:
        """Whether that file is a state dict, from elsewhere or exported, and no checkpoint."""
        return self.source is not None and self.source.saved is not None and not isinstance(self.source.saved, SavedRun)

    @property
    def saved_in(self) -> Path | None:
        """The file that the config came out of, if it did."""
        return self.source.saved_in if self.source else None

    @property
    def artifact(self) -> Path | None:
        """The exported network that `ckpt=` names instead of a checkpoint."""
        return self.source.located.path if self.source and self.source.saved is None else None

    def resolved(self, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the config as plain values, with what is `known` of the data (`known_late`) filled in.

        Without that, sections that refer to it hold placeholders, good enough to be checked.
        """
        tree = resolve(self.config, known)
        if known is None:
            for key in KNOWN_LATE:
                value = OmegaConf.select(self.config, f"data.{key}")
                tree["data"][key] = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        return tree

    def shown(self) -> dict[str, Any]:
        """Return the config as composed, references unresolved, for people to read."""
        tree = OmegaConf.to_container(self.config, resolve=False)
        assert isinstance(tree, dict)
        return tree  # type: ignore[return-value]

    def plain(self) -> dict[str, Any]:
        """Return the config as plain values; what the data alone decides stays a reference to it."""
        known = placeholders(self.config)
        return _where_alike(resolve(self.config, known), resolve(self.config, _another(known)), self.shown())

    @functools.cached_property
    def secrets(self) -> frozenset[str]:
        """Every secret text of the config, those that come out of the environment too."""
        shown = self.shown()
        variables = _ENVIRONMENT.findall(str(shown))
        found = {os.environ[name] for name in variables if is_secret(name) and os.environ.get(name)}
        return secrets_in(self.resolved()) | secrets_in(shown) | found

    def named(self, key: str) -> bool:
        """Return whether the command line names a key, or the section that it is in."""
        return any(is_within(key, item.key) for item in self.typed)

    @property
    def became(self) -> dict[str, str]:
        """The option that each `auto` became, by group."""
        options = {group: auto.option(self.kinds) for group, auto in self.autos.items()}
        return {group: option for group, option in options.items() if option is not None}

    def is_open(self, group: str) -> bool:
        """Return whether only the data will say what the option of a group is."""
        auto = self.autos.get(group)
        return auto is not None and len({option for kind, option in auto.options.items() if kind in self.kinds}) > 1

    def fitted(self, kinds: Sequence[str]) -> Composed:
        """Return the config for data that turned out to be of some kinds: each `auto` as what they ask for.

        Raises ConfigError where what is typed does not fit them.
        """
        stated = [claim for claim in self.stated if claim.key != "data"]
        data = claims_of_data(self.config.data.name, kinds)
        fitting, problems = fitting_kinds([*data, *stated], self.autos, self.rules.known.data_kinds)
        if problems:
            raise ConfigError(*problems)
        fitted = replace(self, config=self.config.copy(), kinds=tuple(fitting))
        if fitted.became == self.became:
            # What may be watched is known now, though no `auto` became another option.
            wrong, fitted = list(check_monitor(resolve(self.config), (), self.rules.known.metrics)), self
        else:
            references = {**self.references, **become(fitted.config, self.autos, self.became, fitting)}
            fitted = replace(fitted, references=references)
            wrong = check(resolve(fitted.config), references, self.rules)
        if wrong:
            raise ConfigError(*wrong)
        return fitted

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
    groups, values = split(typed)
    problems += unknown_options(groups, own)
    draft = choose_options(typed, own)
    values = [with_source_resolved(item, values, draft.config) for item in values]
    source, lacking = find_source(values, draft, rules.tasks)
    problems += lacking
    if source is not None:
        problems += excluded_beside(source, groups)
        draft = start_from(source, draft)
    draft, misplaced = lay_typed(draft, values)
    problems += misplaced
    follows, references = _follow(draft, source, typed, rules)
    unresolvable = explain_unresolvable(draft.config)
    problems += unresolvable
    tree = resolve(draft.config)
    task = rules.task_of(tree)
    saved_in = source.saved_in if source is not None else None
    if saved_in is not None:
        problems += _left_out(tree, task)
    problems += misfits(typed, tree, rules.tasks)
    problems += _without_effect(typed, tree, task, rules)
    problems += _not_typed(typed, tree)
    # What could not be resolved is null by now, and has been complained of.
    null = {item.key for item in unresolvable}
    wrong = [item for item in follows.at_odds if task is None or all(map(task.builds_section, _places(item)))]
    problem_classes = targets_of(draft.autos.get("problem"), follows.kinds)
    wrong += [item for item in check(tree, references, rules, problem_classes) if item.key not in null]
    if problems:
        # The words themselves: whatever else is wrong, the user can mend them.
        raise ConfigError(*dict.fromkeys([*problems, *wrong]))
    if wrong:
        raise fault(list(dict.fromkeys(wrong)), saved_in, typed)
    assert task is not None, "the range of `task` names those that there are"
    own_sections = own_targets(tree, saved_in is not None, draft.chosen, values)
    run_dir = hydra_dir(typed, "hydra.run.dir", draft.config)
    _leave_out(draft.config, task)
    return Composed(
        task=task,
        config=draft.config,
        typed=tuple(typed),
        source=source,
        own_targets=frozenset(own_sections),
        run_dir=run_dir,
        own=tuple(own),
        trial_notes=trial_notes(typed, tree, task, rules.idle),
        rules=rules,
        references=references,
        autos=draft.autos,
        stated=follows.stated,
        kinds=follows.kinds,
    )


class _Follows(NamedTuple):
    """What a config says of its data, the kinds of data that fit that, and what of it is at odds."""

    stated: tuple[Claim, ...]
    kinds: tuple[str, ...]
    at_odds: list[Complaint]


def _follow(
    draft: Draft, source: Source | None, typed: Sequence[Typed], rules: Rules
) -> tuple[_Follows, dict[str, Reference]]:
    """Let each `auto` of a config, and how its data are read, be what the rest says of the data, in place.

    Returns what that is, and what sections with a `_target_` are compared with then.
    """
    known = rules.known.data_kinds
    stated = tuple(claims(draft.config, draft.autos, known))
    if source is not None and source.config is not None:
        words = [item.key for item in typed if item.value != AUTO]
        stated = tuple(replace(it, is_saved=not any(is_within(word, it.key) for word in words)) for it in stated)
    else:
        tell_data(draft.config, stated)
    kinds, at_odds = fitting_kinds(stated, draft.autos, known)
    assumed = {group: auto.assumed for group, auto in draft.autos.items()}
    references = {**draft.references, **become(draft.config, draft.autos, assumed, kinds)}
    return _Follows(stated, tuple(kinds), at_odds), references


def _places(complaint: Complaint) -> list[str]:
    """Return the sections that a complaint of what is said of the data is about."""
    groups = dict.fromkeys(key.partition(".")[0] for key in (complaint.key, *complaint.others))
    return ["data.dataset" if group == "data" else group for group in groups]


def _left_out(tree: Mapping[str, Any], task: Task | None) -> list[Complaint]:
    """Complain of what a file leaves out of the config that it holds, where the task needs it: secrets, and paths."""
    used = tree if task is None or task.builds is None else {key: tree[key] for key in tree if key in task.builds}
    secrets = [Complaint(key, f"{key} is a secret, which no checkpoint holds; give it again") for key in left_out(used)]
    paths = [
        Complaint(key, f"{key} is a path, which no exported file holds; give it again: {key}=")
        for key in paths_left_out(used)
        if key != "data.dataset.root"
    ]
    return secrets + paths


def _not_typed(typed: Sequence[Typed], tree: Mapping[str, Any]) -> list[Complaint]:
    """Complain of a checkpoint that a YAML file names: what is in it must be known before the YAML files are."""
    return [
        Complaint(key, f"{key} is read from the command line alone: type {key}={tree[key]}")
        for key in SOURCE_KEYS
        if tree.get(key) is not None and all(item.key != key for item in typed)
    ]


def _without_effect(
    typed: Sequence[Typed], tree: Mapping[str, Any], task: Task | None, rules: Rules
) -> list[Complaint]:
    """Complain of what is typed and cannot act in what the config asks for."""
    found = idle_settings(typed, tree, task, rules.idle)
    if task is None or task.builds_section("data.dataset"):
        found += unread_root(typed, tree)
    return found


def _another(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, Mapping):
        return {key: _another(item) for key, item in value.items()}
    return [_another(item) for item in value] if isinstance(value, list) else value + 1


def _where_alike(one: Any, other: Any, else_: Any) -> Any:
    """Return what is the same in two trees, and elsewhere what stands there in a third."""
    if one == other:
        return one
    if isinstance(one, dict) and isinstance(else_, dict):
        return {key: _where_alike(one[key], other[key], value) for key, value in else_.items()}
    return else_


def _leave_out(config: DictConfig, task: Task) -> None:
    """Take the sections out of a config that a task builds nothing of: what they name may be nowhere to be had."""
    for name in (*TARGET_SECTIONS, *NAMED_SECTIONS):
        if not task.builds_section(name):
            OmegaConf.update(config, name, None if name == "scheduler" else {}, merge=False)
