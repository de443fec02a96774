"""Which file or word set a value: the text of `nnrun --explain KEY`."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import yaml

from nnrun.base.errors import ConfigError
from nnrun.base.paragraphs import paragraph, row
from nnrun.base.secrets import redact, redact_word
from nnrun.config.catalogue import Catalogue
from nnrun.config.composed import Composed
from nnrun.config.folders import GROUPS, option_file
from nnrun.config.interpolation import KNOWN_LATE
from nnrun.config.meant import hint_for_name
from nnrun.config.option_files import OptionFile, option_settings, read_option_file
from nnrun.config.options import composed_files
from nnrun.config.schema import NAMED_SECTIONS, RUN_KEYS
from nnrun.config.tree import is_within, value_at
from nnrun.config.typed_paths import HYDRA_KEYS
from nnrun.config.values import allowed_in_words

_ABSENT = object()
# Settings that are known once the data is opened.
_LATE = tuple(f"data.{name}" for name in KNOWN_LATE)
# The width of a setting with its value, and the least room beside it.
_FORM = (46, 40)


@dataclass(frozen=True)
class Origin:
    """A value of a setting, as text, and its source: a line of a file, a word, a checkpoint."""

    value: str
    place: str


class Origins:
    """Where the values of a checked config come from."""

    def __init__(self, composed: Composed) -> None:
        self._composed = composed
        self._groups = [item for item in composed.typed if item.is_group]
        self._files = composed_files(self._groups, composed.own)
        self._saved = composed.source.config if composed.source is not None else None

    def of_option(self, group: str) -> list[Origin]:
        """Return the sources of a group's option; the last one counts."""
        if self._is_saved(group):
            return [Origin(self._named(group), self._checkpoint + self._then(group))]
        if self._saved is not None and group in NAMED_SECTIONS and all(item.key != group for item in self._groups):
            return [
                Origin("none", "ckpt=: an evaluation omits the groups of a training, and exports nothing by default")
            ]
        found = [Origin(item.default, item.place) for file in self._files for item in file.chooses if item.key == group]
        typed = [item for item in self._groups if item.key == group]
        return [*found, *(Origin(_plain(item.value), f"the command line: {redact_word(item.word)}") for item in typed)]

    def of(self, key: str) -> list[Origin]:
        """Return the sources of a setting's value; the last one counts."""
        found = list(self._given(key))
        typed = [it for it in self._composed.typed if not it.is_group and is_within(key, it.key)]
        for item in typed:
            value = item.value if item.key == key else value_at({"": item.value}, key.removeprefix(item.key), _ABSENT)
            if value is not _ABSENT:
                shown = _plain(redact(value, key))
                found.append(Origin(shown, f"the command line: {redact_word(item.word)}"))
        if place := self._composed.followed.get(key):
            found.append(Origin(_plain(self.value(key)), place))
        return found

    def value(self, key: str) -> Any:
        """Return the value of a setting; one that only the data decides stays a reference."""
        if key in HYDRA_KEYS:
            return self.of(key)[-1].value
        raw = value_at(self._composed.shown(), key, _ABSENT)
        is_late = isinstance(raw, str) and any(f"${{{name}" in raw for name in _LATE)
        return raw if is_late or raw is _ABSENT else value_at(self._composed.resolved(), key, _ABSENT)

    def became(self, group: str) -> str:
        """Return the option that an `auto` group became, or an empty string."""
        auto = self._composed.autos.get(group)
        return "" if auto is None else self._composed.became.get(group, auto.assumed)

    def note(self, key: str) -> str:
        """Return a remark about a value that is not final."""
        if key in HYDRA_KEYS:
            return ""
        raw, value = value_at(self._composed.shown(), key), self.value(key)
        if (key in _LATE and raw is None) or (isinstance(value, str) and "${data." in value):
            return "set from the data"
        if isinstance(raw, str) and "${" in raw:
            return f"follows {raw}"
        return "auto: a run saves the value chosen in its config.yaml" if raw == "auto" else ""

    def _given(self, key: str) -> Iterator[Origin]:
        """Yield the values of a setting in the files or in a checkpoint."""
        group = key.partition(".")[0]
        if self._is_saved(group) and self._saved is not None and value_at(self._saved, key, _ABSENT) is not _ABSENT:
            yield Origin(_plain(redact(value_at(self._saved, key), key)), self._checkpoint + self._then(key))
            return
        for file in self._files_for(group):
            yield from (Origin(item.default, item.place) for item in file.settings if item.key == key)

    def _files_for(self, group: str) -> Iterator[OptionFile]:
        """Yield the files of a group: where it is `auto`, those of the option that it became."""
        option = self.became(group)
        if not option:
            yield from self._files
            return
        paths = dict.fromkeys(item.path for item in option_settings(group, option, self._composed.own))
        yield from (read_option_file(path, group) for path in paths)
        replaced = option_file(group, "auto", self._composed.own)
        yield from (file for file in self._files if file.path != replaced)

    def _then(self, key: str) -> str:
        """Return a remark about a value that was given on the command line of the checkpoint's run."""
        typed = {word.partition("=")[0].lstrip("+"): word for word in self._typed_then}
        word = next(
            (word for name, word in typed.items() if is_within(key, name) and (name == key or name not in GROUPS)), ""
        )
        return f", whose command line had {redact_word(word)}" if word else ""

    @functools.cached_property
    def _typed_then(self) -> list[str]:
        """The words of the command line of the checkpoint's run, where its directory has them."""
        source = self._composed.source
        path = None if source is None or source.located.run is None else source.located.run / "overrides.yaml"
        with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
            words = yaml.safe_load(path.read_text(encoding="utf-8")) if path is not None else None
            return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []
        return []

    def _is_saved(self, group: str) -> bool:
        """Return whether a group comes from a checkpoint: all groups of a run do, unless they are chosen again."""
        if self._saved is None or group not in RUN_KEYS or group not in self._saved:
            return False
        is_named = any(item.key == group for item in self._groups)
        if group in NAMED_SECTIONS:
            is_kept = self._composed.resumed is not None or group == "metric"
            return is_kept and not is_named
        return not is_named or self._target(group) == _target_in(self._saved, group)

    def _target(self, group: str) -> str:
        """Return the class that a group builds."""
        return _target_in(self._composed.shown(), group)

    def _named(self, group: str) -> str:
        """Return the option of a saved group; where no option has its class, the class."""
        target, catalogue = self._target(group), Catalogue(self._composed.own)
        names = catalogue.options(group)
        return next((name for name in names if target and target in (name, catalogue.target(group, name))), target)

    @property
    def _checkpoint(self) -> str:
        """The source of a value from a checkpoint."""
        assert self._composed.source is not None
        return f"the checkpoint {self._composed.source.located.path}"


def _target_in(tree: Mapping[str, Any], group: str) -> str:
    """Return the class that a group builds; without one, its name, if any."""
    return str(value_at(tree, f"{group}._target_") or value_at(tree, f"{group}.name") or "")


def _plain(value: Any) -> str:
    """Return a value as YAML has it in one line."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def explain(keys: Sequence[str], composed: Composed, columns: int) -> str:
    """Return the sources of each key's value, and its description; raise ConfigError for an unknown key."""
    origins, catalogue = Origins(composed), Catalogue(composed.own)
    lines: list[str] = []
    problems: list[str] = []
    for key in (word.partition("=")[0] for word in keys):
        value = origins.value(key)
        if value is _ABSENT and key not in GROUPS:
            known = [*_leaves(composed.shown()), *GROUPS, *HYDRA_KEYS]
            hint = hint_for_name(key, known) or "nnrun --help lists them"
            problems.append(f"{key} is not a setting here; {hint}")
        elif key in GROUPS or (isinstance(value, Mapping) and value):
            lines += [*_explain_section(key, value, origins, columns), ""]
        else:
            lines += [*_explain_setting(key, origins, catalogue, composed, columns), ""]
    if problems:
        raise ConfigError(*problems)
    return "\n".join(lines[:-1]) + "\n"


def _explain_section(key: str, value: Any, origins: Origins, columns: int) -> Iterator[str]:
    """Yield the sources of an option, and each setting of a section with its value and its source."""
    chosen = origins.of_option(key) if key in GROUPS else []
    yield f"{key}={chosen[-1].value}" if chosen and chosen[-1].value else key
    yield from _history(chosen, columns)
    if became := origins.became(key):
        yield f"  auto is {became} here"
    for name in _leaves(value if isinstance(value, Mapping) else {}, f"{key}."):
        if not name.endswith("._target_"):
            found = origins.of(name)
            note = origins.note(name)
            place = found[-1].place if found else "no file"
            said = place if note.startswith("auto") else "; ".join(filter(None, (place, note)))
            yield from row(f"{name}={_plain(redact(origins.value(name), name))}", said, _FORM, columns)


def _explain_setting(
    key: str, origins: Origins, catalogue: Catalogue, composed: Composed, columns: int
) -> Iterator[str]:
    """Yield the value of a setting, its sources, the values that they replaced, and its description."""
    yield f"{key}={_plain(redact(origins.value(key), key))}"
    yield from _history(origins.of(key), columns)
    note, setting = origins.note(key), catalogue.find(key)
    if note and not (setting is not None and setting.comment.startswith(note)):
        yield from paragraph(note, columns, "  ")
    if setting is not None:
        yield from paragraph(setting.comment, columns, "  ")
        if allowed := allowed_in_words(setting, composed.rules):
            yield from paragraph(f"allowed: {allowed}", columns, "  ")


def _history(found: Sequence[Origin], columns: int) -> Iterator[str]:
    """Yield the source of a value, and the values that it replaced."""
    for number, origin in enumerate(reversed(found)):
        before = f"instead of {origin.value}: " if number else "set by "
        yield from paragraph(f"{before}{origin.place}", columns, "  ", "      ")


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the full key of every value of a tree that is not a section."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
