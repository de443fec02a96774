"""All groups, options and settings that there are, with defaults and comments: ours and the user's own.

They are read from the YAML files; neither torch nor Hydra is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nnrun.config.folders import GROUPS, conf_dir, option_file, options
from nnrun.config.option_files import OptionFile, Setting, option_settings, read_option_file

# The option that follows from the data.
_AUTO = "auto"


@dataclass(frozen=True)
class Catalogue:
    """What can be chosen and set; `own` are the user's folders of options."""

    own: tuple[Path, ...] = ()
    _options: dict[tuple[str, str], list[Setting]] = field(default_factory=dict, compare=False, repr=False)

    @functools.cached_property
    def _main(self) -> OptionFile:
        """The file of what belongs to no group, and of the defaults."""
        return read_option_file(conf_dir() / "config.yaml", "")

    @functools.cached_property
    def groups(self) -> dict[str, Setting]:
        """Each group with its default option and what it is for."""
        found = {setting.key: setting for setting in self._main.chooses}
        return {group: found[group] for group in GROUPS if group in found}

    @functools.cached_property
    def general(self) -> list[Setting]:
        """Settings that belong to no group, and sections of tasks."""
        return [setting for setting in self._main.settings if setting.key.partition(".")[0] != "hydra"]

    def options(self, group: str) -> list[str]:
        """Return the names of a group's options."""
        return options(group, self.own)

    def becomes(self, group: str, option: str) -> str:
        """Return what an option is in a plain run: of `auto` the option that it stands for there."""
        path = option_file(group, option, self.own) if option == _AUTO else None
        kinds = read_option_file(path, group).settings if path is not None else ()
        # Of a group of several, auto.yaml names no option.
        return kinds[0].default if kinds and kinds[0].key != group else option

    def settings(self, group: str, option: str) -> list[Setting]:
        """Return the settings of an option: those that it lists, and those of what it starts from."""
        key = (group, self.becomes(group, option))
        if key not in self._options:
            found = option_settings(*key, self.own)
            # `none` says `augment: {}`, which is no setting; and a class is not set, but chosen.
            kept = [it for it in found if it.key != group and not it.key.endswith("._target_")]
            self._options[key] = [it for it in kept if not (it.is_section and not it.comment)]
        return self._options[key]

    def target(self, group: str, option: str) -> str:
        """Return the class that an option builds, or an empty text."""
        found = option_settings(group, self.becomes(group, option), self.own)
        return next((it.default for it in found if it.key.endswith("._target_")), "")

    @functools.cached_property
    def defaults(self) -> dict[str, Setting]:
        """Every setting of a plain run, by full key, in the order in which people read them."""
        rows = [*self.general]
        for group, chosen in self.groups.items():
            rows += self.settings(group, chosen.default)
        return {row.key: row for row in rows}

    def having(self, key: str) -> Iterator[tuple[str, Setting]]:
        """Yield each option that has a setting, with the setting as it has it."""
        group = key.partition(".")[0]
        for option in self.options(group) if group in GROUPS and group != "experiment" else ():
            if self.becomes(group, option) == option:
                yield from ((option, it) for it in self.settings(group, option) if it.key == key)

    def find(self, key: str) -> Setting | None:
        """Return a setting by its full key: as a plain run has it, else as the first option that has it."""
        # Of Hydra's own settings, config.yaml has those that may be typed.
        listed = (it for it in self._main.settings if it.key == key and not it.is_section)
        return self.defaults.get(key) or next((it for _, it in self.having(key)), None) or next(listed, None)

    @functools.cached_property
    def every(self) -> dict[str, Setting]:
        """Every setting that there is, by full key: those of a plain run first."""
        found = dict(self.defaults)
        for group in GROUPS:
            for option in self.options(group) if group != "experiment" else ():
                found |= {it.key: it for it in self.settings(group, option) if it.key not in found}
        return found
