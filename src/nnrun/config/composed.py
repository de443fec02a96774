"""A config that passed the first checks: its values, their sources, and its changes once the data is opened."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nnrun.base.errors import ConfigError
from nnrun.base.secrets import is_secret, secrets_in
from nnrun.checkpoints.locate import Located
from nnrun.checkpoints.saved_run import SavedRun, SavedWeights
from nnrun.config.auto import Auto, become
from nnrun.config.claims import Claim, claims_of_data, fitting_kinds
from nnrun.config.copies import copy_of
from nnrun.config.interpolation import placeholders, resolve, unfilled
from nnrun.config.monitor import check_monitor
from nnrun.config.option_files import is_shipped_default, setting_of
from nnrun.config.overrides import Typed
from nnrun.config.rules import Rules
from nnrun.config.source import Source
from nnrun.config.target_sections import References
from nnrun.config.task import Task
from nnrun.config.tree import is_within
from nnrun.config.validate import check

# A reference to an environment variable.
_ENVIRONMENT = re.compile(r"\$\{oc\.env:\s*(\w+)")


@dataclass(frozen=True)
class Composed:
    """A config that passed the first tier of checks, and its sources."""

    task: Task
    config: DictConfig
    # The words of the command line.
    typed: tuple[Typed, ...]
    # The source that `ckpt=`, `resume=`, `init_from=` or `repeat=` names.
    source: Source | None
    # The sections whose `_target_` the user's YAML or command line names: their own code, which is trusted.
    own_targets: frozenset[str]
    # The folder that `hydra.run.dir=` names.
    run_dir: Path | None
    # The user's config folders.
    own: tuple[Path, ...]
    # Notes on settings that have no effect only because `trainer=debug` shortens the run.
    trial_notes: tuple[str, ...]
    # The rules that the config was checked against.
    rules: Rules
    references: References
    # The chosen options of each group; none where the config comes from a file.
    choices: Mapping[str, Sequence[str]]
    # The groups that are `auto`, the claims of the config about its data, and the kinds of data that fit them.
    autos: Mapping[str, Auto]
    stated: tuple[Claim, ...]
    kinds: tuple[str, ...]
    # What set each setting that follows from others, by key.
    followed: Mapping[str, str]
    # Notes from the search for the user's config folders.
    notes: tuple[str, ...] = ()
    # The directory that a launcher made for this run.
    made_dir: Path | None = None

    @property
    def located(self) -> Located | None:
        """The intact file that `ckpt=`, `resume=`, `init_from=` or `repeat=` refers to."""
        return self.source.located if self.source else None

    def _saved(self, key: str) -> SavedWeights | None:
        """Return the content of the file that a key names."""
        return self.source.saved if self.source and self.source.key == key else None

    @property
    def evaluated(self) -> SavedWeights | None:
        """The checkpoint, or the file of weights, that `ckpt=` names; None for an exported network."""
        return self._saved("ckpt")

    @property
    def resumed(self) -> SavedRun | None:
        """The checkpoint that `resume=` continues from."""
        saved = self._saved("resume")
        return saved if isinstance(saved, SavedRun) else None

    @property
    def repeated(self) -> SavedRun | None:
        """The newest checkpoint of the run that `repeat=` repeats."""
        saved = self._saved("repeat")
        return saved if isinstance(saved, SavedRun) else None

    @property
    def start(self) -> SavedWeights | None:
        """The initial weights, of a checkpoint or a file of weights: those of `init_from=`, or of the repeated run."""
        return self._saved("init_from") or (self.source.start if self.source else None)

    @property
    def weights_alone(self) -> bool:
        """Whether that file holds only weights, exported or from elsewhere, and is not a checkpoint."""
        return self.source is not None and self.source.saved is not None and not isinstance(self.source.saved, SavedRun)

    @property
    def saved_in(self) -> Path | None:
        """The file that the config comes from, if any."""
        return self.source.saved_in if self.source else None

    @property
    def artifact(self) -> Path | None:
        """The exported network that `ckpt=` names instead of a checkpoint."""
        return self.source.located.path if self.source and self.source.saved is None else None

    def resolved(self, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the config as plain values, with the values `known` from the data (`known_late`) filled in.

        Without these, sections that refer to them have placeholders, which suffice for the checks.
        """
        if known is None:
            return deepcopy(self._checked)
        key = repr(known)
        if key not in self._filled_in:
            self._filled_in[key] = resolve(self.config, known)
        return deepcopy(self._filled_in[key])

    def known_as(self, resolved: dict[str, Any]) -> Composed:
        """Take what `resolved()` returns for this config, which is known already; return this."""
        self.__dict__["_checked"] = resolved
        return self

    @functools.cached_property
    def _filled_in(self) -> dict[str, dict[str, Any]]:
        """The config as plain values, by the values from the data: each part of a training asks for it."""
        return {}

    @functools.cached_property
    def _checked(self) -> dict[str, Any]:
        """The config as plain values, with placeholders; resolving takes several times as long as copying these."""
        return unfilled(resolve(self.config), self.config)

    def shown(self) -> dict[str, Any]:
        """Return the config as composed, with unresolved references, for display."""
        tree = OmegaConf.to_container(self.config, resolve=False)
        assert isinstance(tree, dict)
        return tree  # type: ignore[return-value]

    def plain(self) -> dict[str, Any]:
        """Return the config as plain values; values that only the data decides stay references to it."""
        known = placeholders(self.config)
        return _where_alike(resolve(self.config, known), resolve(self.config, _another(known)), self.shown())

    @functools.cached_property
    def secrets(self) -> frozenset[str]:
        """Every secret of the config, including those from environment variables."""
        shown = self.shown()
        variables = _ENVIRONMENT.findall(str(shown))
        found = {os.environ[name] for name in variables if is_secret(name) and os.environ.get(name)}
        return secrets_in(self._checked) | secrets_in(shown) | found

    def named(self, key: str) -> bool:
        """Return whether the command line names a key, or the section that it is in."""
        return any(is_within(key, item.key) for item in self.typed)

    def is_default(self, key: str) -> bool:
        """Return whether a setting has our default: not set on the command line, nor by a file of the user's choice.

        Such a file is an experiment, a custom option, or a checkpoint.
        """
        setting = setting_of(key, self.choices, self.own)
        is_typed = any(is_within(key, item.key) for item in self.typed if not item.is_group)
        return setting is not None and is_shipped_default(setting) and not is_typed

    def with_data(self, **settings: Any) -> Composed:
        """Return the config with settings of `data` set from the data."""
        return self.with_settings("data", settings)

    def with_trainer(self, **settings: Any) -> Composed:
        """Return the config with settings of `trainer` set from what was measured."""
        return self.with_settings("trainer", settings)

    def with_settings(self, section: str, settings: Mapping[str, Any]) -> Composed:
        """Return the config with settings of a section set."""
        config = copy_of(self.config)
        for key, value in settings.items():
            OmegaConf.update(config, f"{section}.{key}", value)
        return replace(self, config=config)

    @property
    def became(self) -> dict[str, str]:
        """The option that each `auto` became, by group."""
        options = {group: auto.option(self.kinds) for group, auto in self.autos.items()}
        return {group: option for group, option in options.items() if option is not None}

    def is_open(self, group: str) -> bool:
        """Return whether the option of a group still depends on the data."""
        auto = self.autos.get(group)
        return auto is not None and len({option for kind, option in auto.options.items() if kind in self.kinds}) > 1

    def fitted(self, kinds: Sequence[str]) -> Composed:
        """Return the config for the kinds of the opened data, each `auto` replaced by its option for them.

        Raises ConfigError where other settings do not fit them.
        """
        stated = [claim for claim in self.stated if claim.key != "data"]
        data = claims_of_data(self.config.data.name, kinds)
        fitting, problems = fitting_kinds([*data, *stated], self.autos, self.rules.known.data_kinds)
        if problems:
            raise ConfigError(*problems)
        fitted = replace(self, config=copy_of(self.config), kinds=tuple(fitting))
        if fitted.became == self.became:
            # The metrics are known now, though no `auto` became another option.
            wrong, fitted = list(check_monitor(self._checked, (), self.rules.known.metrics)), self
        else:
            references = {**self.references, **become(fitted.config, self.autos, self.became, fitting)}
            fitted = replace(fitted, references=references)
            wrong = check(resolve(fitted.config), references, self.rules)
        if wrong:
            raise ConfigError(*wrong)
        return fitted

    @property
    def notes_on_unread(self) -> list[str]:
        """Notes on each setting of the command line that the task does not read."""
        task = self.task
        if self.artifact is not None:
            task = replace(task, unread=("model", *task.unread))
        if self.weights_alone and self.saved_in is None:
            # No file has the preprocessing then: the data's is used.
            task = replace(task, reads_of_unread=(*task.reads_of_unread, "data.dataset.mean", "data.dataset.std"))
        return [f"{item.key} has no effect with {task.words}" for item in self.typed if not task.reads(item.key)]


def _another(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, Mapping):
        return {key: _another(item) for key, item in value.items()}
    return [_another(item) for item in value] if isinstance(value, list) else value + 1


def _where_alike(one: Any, other: Any, else_: Any) -> Any:
    """Return the values that are equal in two trees; where they differ, those of a third."""
    if one == other:
        return one
    if isinstance(one, dict) and isinstance(else_, dict):
        return {key: _where_alike(one[key], other[key], value) for key, value in else_.items()}
    return else_
