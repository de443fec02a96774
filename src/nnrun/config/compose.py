"""Compose and check the config of one invocation; all mistakes are reported together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from nnrun.base.errors import Complaint, ConfigError
from nnrun.base.secrets import left_out
from nnrun.checkpoints.model_card import paths_left_out
from nnrun.config.auto import AUTO, become, targets_of
from nnrun.config.claims import Claim, claims, fitting_kinds, tell_data
from nnrun.config.composed import Composed
from nnrun.config.data_settings import unread_root, unread_tokenizer
from nnrun.config.draft import (
    Draft,
    built_as_before,
    choose_options,
    excluded_beside,
    find_source,
    hydra_dir,
    lay_typed,
    split,
    start_from,
    with_source_resolved,
)
from nnrun.config.folders import OF_A_SWEEP
from nnrun.config.from_checkpoint import fault, own_targets
from nnrun.config.interpolation import resolve_or_explain, unfilled
from nnrun.config.no_effect import idle_settings, trial_notes
from nnrun.config.options import unknown_options
from nnrun.config.overrides import Typed, ambiguous, parse_all
from nnrun.config.rules import Rules
from nnrun.config.schema import NAMED_SECTIONS, TARGET_SECTIONS
from nnrun.config.source import Source
from nnrun.config.target_sections import Reference
from nnrun.config.task import Task, misfits
from nnrun.config.tree import is_within
from nnrun.config.typed_paths import SOURCE_KEYS
from nnrun.config.validate import check


def compose_config(words: Sequence[str], own: Sequence[Path], rules: Rules) -> Composed:
    """Compose and check the config of the words of a command line; `own` are the user's config folders.

    Raises ConfigError with all mistakes, ArtifactError where a checkpoint that is named cannot be trusted.
    """
    typed, problems = parse_all(words, [task.name for task in rules.tasks if task.is_named], own)
    problems += ambiguous(typed)
    draft, source, values, misplaced = _draft(typed, own, rules)
    problems += misplaced
    follows, references = _follow(draft, source, typed, rules)
    tree, unresolvable = resolve_or_explain(draft.config)
    task = rules.task_of(tree)
    at_odds = [item for item in follows.at_odds if task is None or all(map(task.builds_section, _places(item)))]
    # What does not fit the data may refer to what only other data has.
    problems += [item for item in unresolvable if not any(is_within(item.key, odd.key) for odd in at_odds)]
    saved_in = source.saved_in if source is not None else None
    if saved_in is not None:
        problems += _left_out(tree, task)
    # Values that could not be resolved are null by now, and reported.
    null = {item.key for item in unresolvable}
    problem_classes = targets_of(draft.autos.get("problem"), follows.kinds)
    wrong = at_odds + [item for item in check(tree, references, rules, problem_classes) if item.key not in null]
    # What is wrong by itself is not also reported to be in the wrong place.
    keys = {item.key for item in wrong} - {""}
    right = [item for item in typed if not any(is_within(item.key, key) for key in keys)]
    problems += misfits(right, tree, rules.tasks)
    problems += _without_effect(typed, tree, task, rules)
    problems += _of_a_sweep(typed)
    problems += _not_typed(typed, tree)
    if problems:
        # The user can correct the words of the command line, whatever else is wrong.
        raise ConfigError(*dict.fromkeys([*problems, *wrong]))
    if wrong:
        raise fault(list(dict.fromkeys(wrong)), saved_in, typed)
    assert task is not None, "the range of `task` names those that there are"
    own_sections = own_targets(tree, saved_in is not None, draft.chosen, values)
    run_dir = hydra_dir(typed, "hydra.run.dir", draft.config)
    if not task.keeps_unbuilt:
        _leave_out(draft.config, tree, task)
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
        choices=draft.choices,
        stated=follows.stated,
        kinds=follows.kinds,
        followed=follows.set_by,
    ).known_as(unfilled(tree, draft.config))


def _draft(
    typed: Sequence[Typed], own: Sequence[Path], rules: Rules
) -> tuple[Draft, Source | None, list[Typed], list[Complaint]]:
    """Return the unchecked config, its source, the words that set values, and the mistakes found so far.

    Raises ArtifactError where a checkpoint named cannot be trusted.
    """
    groups, values = split(typed)
    problems = unknown_options(groups, own)
    draft = choose_options(typed, own)
    values = [with_source_resolved(item, values, draft.config) for item in values]
    source, lacking = find_source(values, draft, rules.tasks)
    problems += lacking
    if source is not None:
        problems += excluded_beside(source, groups)
        draft = start_from(source, draft)
        built_as_before(source, draft)
    draft, misplaced = lay_typed(draft, values)
    for group in OF_A_SWEEP:
        draft.config.pop(group, None)
    return draft, source, values, problems + misplaced


class _Follows(NamedTuple):
    """The claims of a config about its data, the kinds that fit, the claims at odds, and the settings that they set."""

    stated: tuple[Claim, ...]
    kinds: tuple[str, ...]
    at_odds: list[Complaint]
    set_by: Mapping[str, str]


def _follow(
    draft: Draft, source: Source | None, typed: Sequence[Typed], rules: Rules
) -> tuple[_Follows, dict[str, Reference]]:
    """Replace each `auto` in a config, data.targets included, by what the other settings imply, in place.

    Returns the claims about the data, and the references for the sections with a `_target_`.
    """
    known = rules.known.data_kinds
    stated, set_by = tuple(claims(draft.config, draft.autos, known)), dict[str, str]()
    if source is not None and source.config is not None:
        words = [item.key for item in typed if item.value != AUTO]
        stated = tuple(replace(it, is_saved=not any(is_within(word, it.key) for word in words)) for it in stated)
    else:
        set_by = tell_data(draft.config, stated)
    kinds, at_odds = fitting_kinds(stated, draft.autos, known)
    assumed = {group: auto.assumed for group, auto in draft.autos.items()}
    references = {**draft.references, **become(draft.config, draft.autos, assumed, kinds)}
    return _Follows(stated, tuple(kinds), at_odds, set_by), references


def _places(complaint: Complaint) -> list[str]:
    """Return the sections that a complaint about claims is about."""
    groups = dict.fromkeys(key.partition(".")[0] for key in (complaint.key, *complaint.others))
    return ["data.dataset" if group == "data" else group for group in groups]


def _left_out(tree: Mapping[str, Any], task: Task | None) -> list[Complaint]:
    """Complain of the secrets and paths that a file omits from its config and that the task needs."""
    used = tree if task is None or task.builds is None else {key: tree[key] for key in tree if key in task.builds}
    secrets = [
        Complaint(key, f"{key} is a secret, which checkpoints do not store; give it again") for key in left_out(used)
    ]
    paths = [
        Complaint(key, f"{key} is a path, which exported files do not store; give it again: {key}=")
        for key in paths_left_out(used)
        if key != "data.dataset.root"
    ]
    return secrets + paths


def _not_typed(typed: Sequence[Typed], tree: Mapping[str, Any]) -> list[Complaint]:
    """Complain of a checkpoint that a YAML file names: it must be read before the YAML files are."""
    return [
        Complaint(key, f"{key} can be set only on the command line: add {key}={tree[key]}")
        for key in SOURCE_KEYS
        if tree.get(key) is not None and all(item.key != key for item in typed)
    ]


def _without_effect(
    typed: Sequence[Typed], tree: Mapping[str, Any], task: Task | None, rules: Rules
) -> list[Complaint]:
    """Complain of settings of the command line that have no effect in this config."""
    found = idle_settings(typed, tree, task, rules.idle)
    if task is None or task.builds_section("data.dataset"):
        found += [*unread_root(typed, tree), *unread_tokenizer(typed, tree)]
    return found


def _of_a_sweep(typed: Sequence[Typed]) -> list[Complaint]:
    """Complain of words that set a sweep, or where a command runs: the command took those before."""
    found = [(item.key, item.key.partition(".")[0]) for item in typed if item.key.partition(".")[0] in OF_A_SWEEP]
    texts = {
        "sweep": "has no effect without -m: it sets a sweep",
        "launch": "has no effect here: it sets where the command nnrun starts a run or a sweep",
    }
    return [Complaint(key, f"{key} {texts[group]}") for key, group in found]


def _leave_out(config: DictConfig, tree: dict[str, Any], task: Task) -> None:
    """Empty the sections that a task does not build: the classes that they name may not be available.

    In place, in a config and in its plain values.
    """
    for name in (*TARGET_SECTIONS, *NAMED_SECTIONS):
        if not task.builds_section(name):
            empty: Any = None if name == "scheduler" else {}
            OmegaConf.update(config, name, empty, merge=False)
            *path, last = name.split(".")
            reduce(dict.__getitem__, path, tree)[last] = empty
