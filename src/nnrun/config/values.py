"""The allowed values of a setting: in words, and as a list of words where there is one. Needs no torch."""

from __future__ import annotations

import re
from typing import Any, get_type_hints

from nnrun.config.folders import conf_dir
from nnrun.config.option_files import Setting
from nnrun.config.ranges import Range
from nnrun.config.rules import Rules
from nnrun.config.schema import RunSettings
from nnrun.config.typed_sections import in_words, words_in

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def allowed_in_words(setting: Setting, rules: Rules) -> str:
    """Return the allowed values of a setting in words; an empty string where any value is allowed."""
    if row := _range(setting, rules):
        return row.allowed
    hint = _hint(setting, rules)
    return "" if hint is None else in_words(hint)


def listed_values(setting: Setting, rules: Rules) -> list[str]:
    """Return the words that a setting takes, as far as they can be listed."""
    row, hint = _range(setting, rules), _hint(setting, rules)
    found = [*(row.words if row else ()), *([] if hint is None else words_in(hint))]
    return [word for word in dict.fromkeys(found) if row is None or word in row.words]


def _range(setting: Setting, rules: Rules) -> Range | None:
    """Return the range of a setting's key, where it applies: a class that is not ours may take anything."""
    section = setting.key.rpartition(".")[0]
    is_meant = section in ("", *rules.sections) or setting.path.is_relative_to(conf_dir())
    return rules.ranges.get(setting.key) if is_meant else None


def _hint(setting: Setting, rules: Rules) -> Any:
    """Return the type of a setting, stated or shown by its default; None where it is unknown."""
    section, _, name = setting.key.rpartition(".")
    cls = rules.sections.get(section) if section else RunSettings
    if cls is not None and name in (hints := get_type_hints(cls)):
        return hints[name]
    return _type_of(setting.default)


def _type_of(text: str) -> Any:
    """Return the type that a default, as written, shows; null and references show none."""
    if text in ("true", "false"):
        return bool
    if text in ("", "null", "???") or "${" in text or text[:1] == "{":
        return None
    if text[:1] == "[":
        return list
    if _NUMBER.fullmatch(text):
        return int if text.lstrip("+-").isdecimal() else float
    return str
