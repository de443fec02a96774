"""`auto`: an option that is chosen from the data, by the kind of its targets or of its samples.

A group's auto.yaml names an option for each kind of data; the first is assumed where nothing says more. A setting that
the command line or an experiment adds goes to the options that take it, and rules out the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnrun.base.errors import ConfigError
from nnrun.checkpoints.aliases import with_current_names
from nnrun.config.folders import conf_dir, option_file, options
from nnrun.config.schema import NAMED_SECTIONS
from nnrun.config.target_sections import Reference
from nnrun.config.yaml_files import read_yaml

AUTO = "auto"


@dataclass(frozen=True)
class Auto:
    """A group that is `auto`: its option for each kind of data, and the settings added `beside` these, by full key.

    `own` are the user's config folders. The file of an option is read when it is needed.
    """

    group: str
    options: Mapping[str, str]
    own: Sequence[Path]
    beside: Mapping[str, Any] = field(default_factory=dict)

    def option(self, kinds: Sequence[str]) -> str | None:
        """Return the option for the first of some kinds that has one."""
        return next((self.options[kind] for kind in kinds if kind in self.options), None)

    @property
    def assumed(self) -> str:
        """The option that is assumed."""
        return next(iter(self.options.values()))

    def with_value(self, key: str, value: Any) -> Auto:
        """Return a copy with a value set at a full key."""
        return replace(self, beside={**self.beside, key: value})

    def reference(self, option: str) -> Reference:
        """Return the settings that the file of an option lists."""
        path = option_file(self.group, option, self.own)
        if path is None:
            names = ", ".join(name for name in options(self.group, self.own) if name != AUTO)
            raise ConfigError(f"{self.group}=auto names {option}, which is not an option; available: {names}")
        return Reference(with_current_names(read_yaml(path)), complete=path.parents[1] == conf_dir())

    def takers(self, key: str, *, of_the_type: bool = False) -> frozenset[str]:
        """Return the kinds whose option has a setting; with `of_the_type`, those whose option takes its value."""
        name, value = key.split(".")[1], self.beside.get(key)
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        return frozenset(
            kind
            for kind, option in self.options.items()
            if name in (listed := self.reference(option)).values and (not of_the_type or listed.takes(value, name))
        )

    def section(self, option: str) -> DictConfig:
        """Return the section of an option, with the added values that it takes, or that no option takes.

        The latter are mistakes, which the checks report.
        """
        tree = OmegaConf.create({self.group: dict(self.reference(option).values)})
        for key, value in self.beside.items():
            takers = {self.options[kind] for kind in self.takers(key)}
            if option in takers or not takers:
                with suppress(OmegaConfBaseException, ValueError, TypeError):  # reported where the value is set
                    OmegaConf.update(tree, key, value, merge=True, force_add=True)
        section = tree[self.group]
        assert isinstance(section, DictConfig)
        return section


def read_autos(config: DictConfig, choices: Mapping[str, Sequence[str]], own: Sequence[Path]) -> dict[str, Auto]:
    """Return the groups that are `auto`, and replace each in the config by the option that is assumed."""
    found = {}
    for group, names in choices.items():
        path = option_file(group, AUTO, own) if list(names) == [AUTO] and group not in NAMED_SECTIONS else None
        if path is None:
            continue
        kinds, section = list(read_yaml(path)), config.get(group)
        if not isinstance(section, DictConfig):
            continue  # an experiment replaced the section: the checks report that
        beside = {f"{group}.{key!s}": section._get_node(key) for key in section if key not in kinds}
        found[group] = auto = Auto(group, {kind: str(section[kind]) for kind in kinds}, own, beside)
        config[group] = auto.section(auto.assumed)
    return found


def become(
    config: DictConfig, autos: Mapping[str, Auto], now: Mapping[str, str], kinds: Sequence[str]
) -> dict[str, Reference]:
    """Replace each `auto` in a config by its option for some kinds of data, where that differs from `now`.

    Returns the settings that the files of these options list, by group.
    """
    options = {group: option for group, auto in autos.items() if (option := auto.option(kinds)) is not None}
    other = {group: option for group, option in options.items() if option != now.get(group)}
    for group, option in other.items():
        config[group] = autos[group].section(option)
    return {group: autos[group].reference(option) for group, option in other.items()}


def targets_of(auto: Auto | None, kinds: Sequence[str]) -> list[str]:
    """Return the classes that an `auto` may become for some kinds of data; none for a group that is not `auto`."""
    names = dict.fromkeys(auto.options[kind] for kind in kinds if kind in auto.options) if auto else ()
    return [str(auto.reference(name).values.get("_target_")) for name in names] if auto else []
