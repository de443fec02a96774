"""A config that passed the first checks: what it says, where it came from, and what follows once the data is open."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
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
from nnrun.config.interpolation import KNOWN_LATE, placeholders, resolve
from nnrun.config.monitor import check_monitor
from nnrun.config.option_files import chosen_settings, is_shipped_default
from nnrun.config.overrides import Typed
from nnrun.config.rules import Rules
from nnrun.config.source import Source
from nnrun.config.target_sections import References
from nnrun.config.task import Task
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
    # The options that were chosen for each group; of a config out of a file, none.
    choices: Mapping[str, Sequence[str]]
    # The groups whose option follows from the data, what the config says of its data, and the kinds that fit that.
    autos: Mapping[str, Auto]
    stated: tuple[Claim, ...]
    kinds: tuple[str, ...]
    # What was found while the folders of options were looked for.
    notes: tuple[str, ...] = ()

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
    def repeated(self) -> SavedRun | None:
        """The newest checkpoint of the run that `repeat=` does anew."""
        saved = self._saved("repeat")
        return saved if isinstance(saved, SavedRun) else None

    @property
    def start(self) -> SavedWeights | None:
        """What `init_from=` names, or what a run that is repeated began with: a checkpoint, or weights alone."""
        return self._saved("init_from") or (self.source.start if self.source else None)

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

    def is_default(self, key: str) -> bool:
        """Return whether a setting is as our own files have it: neither typed, nor set by a file of the user's choice.

        Such a file is an experiment, an option of their own, or a checkpoint.
        """
        setting = chosen_settings(self.choices, self.own).get(key)
        is_typed = any(is_within(key, item.key) for item in self.typed if not item.is_group)
        return setting is not None and is_shipped_default(setting) and not is_typed

    def with_data(self, **settings: Any) -> Composed:
        """Return the config with settings of `data` as they became, which nobody has typed."""
        config = self.config.copy()
        for key, value in settings.items():
            OmegaConf.update(config, f"data.{key}", value)
        return replace(self, config=config)

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
