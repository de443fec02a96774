"""All groups, options and settings, ours and the user's own, with their defaults and comments.

They are read from the YAML files, without torch or Hydra.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nnrun.config.folders import GROUPS, conf_dir, option_file, options
from nnrun.config.option_files import OptionFile, Setting, option_settings, read_option_file

# The option that is chosen from the data.
_AUTO = "auto"


@dataclass(frozen=True)
class Catalogue:
    """The options that can be chosen, and their settings; `own` are the user's config folders."""

    own: tuple[Path, ...] = ()
    _options: dict[tuple[str, str], list[Setting]] = field(default_factory=dict, compare=False, repr=False)

    @functools.cached_property
    def _main(self) -> OptionFile:
        """config.yaml: the settings that belong to no group, and the default options."""
        return read_option_file(conf_dir() / "config.yaml", "")

    @functools.cached_property
    def groups(self) -> dict[str, Setting]:
        """Each group with its default option and its description."""
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
        """Return the option itself; for `auto`, the option that it becomes in a plain run."""
        path = option_file(group, option, self.own) if option == _AUTO else None
        kinds = read_option_file(path, group).settings if path is not None else ()
        # Where several options can be chosen at once, auto.yaml names none.
        return kinds[0].default if kinds and kinds[0].key != group else option

    def settings(self, group: str, option: str) -> list[Setting]:
        """Return the settings of an option, with those of the options that it builds on."""
        key = (group, self.becomes(group, option))
        if key not in self._options:
            found = option_settings(*key, self.own)
            # `augment: {}` in none.yaml is not a setting; a class is chosen with its option, not set.
            kept = [it for it in found if it.key != group and not it.key.endswith("._target_")]
            self._options[key] = [it for it in kept if not (it.is_section and not it.comment)]
        return self._options[key]

    def target(self, group: str, option: str) -> str:
        """Return the class that an option builds, or an empty string."""
        found = option_settings(group, self.becomes(group, option), self.own)
        return next((it.default for it in found if it.key.endswith("._target_")), "")

    @functools.cached_property
    def defaults(self) -> dict[str, Setting]:
        """Every setting of a plain run, by full key, in reading order."""
        rows = [*self.general]
        for group, chosen in self.groups.items():
            rows += self.settings(group, chosen.default)
        return {row.key: row for row in rows}

    def having(self, key: str) -> Iterator[tuple[str, Setting]]:
        """Yield each option that has a setting, with the setting as in that option."""
        group = key.partition(".")[0]
        for option in self.options(group) if group in GROUPS and group != "experiment" else ():
            if self.becomes(group, option) == option:
                yield from ((option, it) for it in self.settings(group, option) if it.key == key)

    def find(self, key: str) -> Setting | None:
        """Return a setting by its full key: as in a plain run, else as in the first option that has it."""
        # config.yaml lists those of Hydra's own settings that may be set.
        listed = (it for it in self._main.settings if it.key == key and not it.is_section)
        return self.defaults.get(key) or next((it for _, it in self.having(key)), None) or next(listed, None)

    @functools.cached_property
    def every(self) -> dict[str, Setting]:
        """All settings by full key, those of a plain run first."""
        found = dict(self.defaults)
        for group in GROUPS:
            for option in self.options(group) if group != "experiment" else ():
                found |= {it.key: it for it in self.settings(group, option) if it.key not in found}
        return found
