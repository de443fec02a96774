"""Shell completion: options, settings, their values, flags and paths.

Hydra's own completion knows neither the user's folder nor options in subfolders of a group, and composes a config for
each key press. This one reads the files, as the help does.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nnrun.base.errors import NnrunError
from nnrun.config.catalogue import Catalogue
from nnrun.config.flags import FLAGS, HYDRA_CHOICES, is_switched_on, take_config_dir
from nnrun.config.folders import GROUPS, option_file, own_folders
from nnrun.config.option_files import Setting, read_option_file
from nnrun.config.rules import Rules
from nnrun.config.schema import NAMED_SECTIONS
from nnrun.config.typed_paths import HYDRA_KEYS, PATH_KEYS
from nnrun.config.values import listed_values

# Settings whose path is a folder.
_FOLDERS = ("resume", "repeat", "runs", *HYDRA_KEYS)
# The script for bash, with the names of Hydra's own. A candidate may contain spaces, and = must not end a word.
BASH = """\
export _HYDRA_OLD_COMP=$(complete -p {program} 2> /dev/null)
hydra_bash_completion()
{{
    local choice
    COMPREPLY=()
    while IFS= read -r choice; do
        COMPREPLY+=("$choice")
    done < <(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" "${{1:-{program}}}" -sc query=bash 2> /dev/null)
}}

COMP_WORDBREAKS=${{COMP_WORDBREAKS//=}}
COMP_WORDBREAKS=$COMP_WORDBREAKS complete -o nospace -o default -F hydra_bash_completion {program}
"""
BASH_UNDO = """\
complete -r {program}
eval "$_HYDRA_OLD_COMP"
unset -f hydra_bash_completion
unset _HYDRA_OLD_COMP
"""


@dataclass(frozen=True)
class _Before:
    """The words before the one that is being typed, and the options and settings to complete from."""

    words: Sequence[str]
    catalogue: Catalogue
    rules: Rules

    def have(self, *flags: str) -> bool:
        """Return whether one of some flags is among them."""
        return not set(flags).isdisjoint(self.words)

    @property
    def last(self) -> str:
        """The word just before."""
        return self.words[-1] if self.words else ""


def completed(line: str, rules: Rules) -> list[str]:
    """Return the completions of the last word of a command line, escaped for the shell."""
    words, current, quote = _split(line)
    if not words:
        return []
    before = _Before(words[1:], Catalogue(tuple(_own(words))), rules)
    found = [word for word in dict.fromkeys(_candidates(before, current)) if word.startswith(current)]
    if current and current[0] != "-" and "=" not in current:
        # A setting is also found by the last part of its key, if unique; beside other words only if it is whole.
        names = [(name, name.rpartition(".")[2]) for name in _settings(before)]
        leaves = [f"{name}=" for name, leaf in names if (leaf == current if found else leaf.startswith(current))]
        found += leaves if len(leaves) == 1 and leaves[0] not in found else []
    # Within quotes, the shell takes all characters literally.
    return found if quote else [_escaped(word) for word in found]


def _split(line: str) -> tuple[list[str], str, str]:
    """Return the whole words of a line, the one that is being typed, and the quote that is open in it, if any."""
    for quote in ("", "'", '"'):
        with suppress(ValueError):
            words = shlex.split(line.rstrip("\\") + quote)
            if line[-1:].isspace() and not quote and not line.endswith("\\ "):
                words.append("")
            if words[1:3] == ["-m", "nnrun"] and "python" in words[0]:
                words = words[2:]
            return words[:-1], words[-1] if words else "", quote
    return [], "", ""


def _candidates(before: _Before, current: str) -> Iterator[str]:
    """Yield the completions of the word that is being typed, and others."""
    key, equals, value = current.partition("=")
    plain = key.lstrip("+")
    if before.last in HYDRA_CHOICES:
        yield from HYDRA_CHOICES[before.last]
    elif before.last in ("--config-dir", "-cd"):
        yield from _paths(current, folders=True)
    elif current.startswith("-"):
        yield from FLAGS
    elif equals:
        yield from (f"{key}={word}" for word in _values(before, plain, value))
        if plain in PATH_KEYS:
            yield from (f"{key}={path}" for path in _paths(value, folders=plain in _FOLDERS))
    else:
        yield from _keys(before, current)


def _own(words: Sequence[str]) -> list[Path]:
    """Return the user's config folders; none where they cannot be used."""
    try:
        return own_folders(take_config_dir(words)[0], is_searched=not is_switched_on("leaves_conf_out", words))
    except NnrunError:
        return []


def _keys(before: _Before, current: str) -> Iterator[str]:
    """Yield groups, sections and settings, down to the next dot; after --help or --explain, without `=`."""
    catalogue, is_help = before.catalogue, before.have("--help", "-h")
    is_asked = is_help or before.last == "--explain"
    plus, depth, end = current[: len(current) - len(current.lstrip("+"))], current.count("."), "" if is_asked else "="
    if depth == 0:
        yield from (f"{plus}{group}{end}" for group in GROUPS)
    if depth == 0 and is_help:
        yield from (f"{group}={option}" for group in GROUPS for option in catalogue.options(group))
    for key in (*_settings(before), *(() if is_asked else HYDRA_KEYS)):
        parts = key.split(".")
        yield plus + ".".join(parts[: depth + 1]) + ("." if len(parts) > depth + 1 else end)


def _settings(before: _Before) -> dict[str, Setting]:
    """Return the settings of the chosen options."""
    found = {setting.key: setting for setting in before.catalogue.general if not setting.is_section}
    for group, names in _chosen(before).items():
        for name in names:
            found |= {item.key: item for item in before.catalogue.settings(group, name) if not item.is_section}
    return found


def _chosen(before: _Before) -> dict[str, list[str]]:
    """Return the chosen options of each group: by the words, by an experiment, or the default."""
    typed = {key: value for key, _, value in (word.partition("=") for word in before.words)}
    default = {group: setting.default for group, setting in before.catalogue.groups.items()}
    chosen = {**default, **_chosen_by(typed.get("experiment", "none"), before.catalogue), **typed}
    return {group: _names(chosen[group]) for group in GROUPS if group in chosen}


def _chosen_by(experiment: str, catalogue: Catalogue) -> dict[str, str]:
    """Return the options that an experiment, or one that it builds on, chooses."""
    path = option_file("experiment", experiment, catalogue.own)
    if path is None:
        return {}
    file = read_option_file(path, "experiment")
    found: dict[str, str] = {}
    for base in file.bases:
        found |= _chosen_by(str(Path(experiment).parent / base) if "/" not in base else base, catalogue)
    return found | {item.key: item.default for item in file.chooses}


def _names(value: str) -> list[str]:
    """Return the names in a value such as `mlp`, `a,b` or `[a,b]`."""
    return [name.strip() for name in value.strip("[]").split(",") if name.strip()]


def _values(before: _Before, key: str, value: str) -> Iterator[str]:
    """Yield the possible values of a setting; in a list or a sweep, those of its last item."""
    is_list = value.startswith("[") and key in NAMED_SECTIONS
    is_several = is_list or before.have("-m", "--multirun")
    start = max(value.rfind(","), value.rfind("[")) + 1 if is_several else 0
    if key in GROUPS:
        names = before.catalogue.options(key)
    else:
        setting = _settings(before).get(key) or before.catalogue.find(key)
        names = _values_of(setting, before.rules) if setting is not None else []
    passed_over = [*_names(value[:start]), *(["none"] if is_list else [])]
    yield from (value[:start] + name for name in names if name not in passed_over)


def _values_of(setting: Setting, rules: Rules) -> list[str]:
    """Return the words that a setting takes, and its default where that is useful."""
    words, default = listed_values(setting, rules), setting.default
    # A reference or ??? is not useful; paths are completed from the disk.
    is_shown = default not in ("", "???", "null") and "${" not in default and setting.key not in PATH_KEYS
    found = dict.fromkeys([*([default] if is_shown else []), *words])
    return [word for word in found if word != "null" or setting.key not in PATH_KEYS]


def _paths(typed: str, *, folders: bool) -> Iterator[str]:
    """Yield the paths that begin as typed, folders with a slash; hidden ones only after a typed dot."""
    start = typed.rpartition("/")[2]
    prefix = typed[: len(typed) - len(start)]
    place = Path(prefix or ".").expanduser()
    with suppress(OSError):
        for name in sorted(os.listdir(place)):  # noqa: PTH208 - names, not paths
            is_folder = (place / name).is_dir()
            if name.startswith(start) and (is_folder or not folders) and (start.startswith(".") or name[0] != "."):
                yield f"{prefix}{name}" + ("/" if is_folder else "")


def _escaped(word: str) -> str:
    """Return a word escaped for a shell; a list's brackets need no escape, and `~` must be expanded."""
    return "".join(f"\\{character}" if character in " \t'\"\\$&;()<>|`*?!#" else character for character in word)
