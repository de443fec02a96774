"""Suggestions for a wrong name: a setting, an option, or the one that other frameworks call by that name.

Needs no torch; the YAML files are read only for a suggestion.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from nnrun.base.errors import did_you_mean
from nnrun.base.paths import expanded, is_there
from nnrun.base.secrets import redact_word
from nnrun.config.catalogue import Catalogue
from nnrun.config.elsewhere import ADVICE, OPTIONS, SETTINGS, TIMM, TORCHVISION, VALUES
from nnrun.config.folders import GROUPS, options

# Flags that other programs take as words.
_FLAGS_AS_WORDS = ("help", "version")
# Characters that are ignored when names are compared.
_DROPPED = str.maketrans(dict.fromkeys("_- /."))
# Words that people use to switch something on or off.
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
# A shorter prefix fits too many names of networks.
_LEAST_OF_A_FAMILY = 3
# Files that data=arrays reads.
_FILES_OF_ARRAYS = (".npz", ".csv")
# Keys under which other frameworks name the class of a section.
_NAMES_A_CLASS = ("name", "type", "class", "kind")


def hint_for_key(key: str, known: Collection[str]) -> str:
    """Return a suggestion for an unknown key, from the settings `known` here or others."""
    section, _, leaf = key.rpartition(".")
    if holders := options_having(key):
        return f"{' and '.join(holders)} {'has' if len(holders) == 1 else 'have'} it"
    if section in GROUPS and leaf in _NAMES_A_CLASS:
        return f"an option is chosen by the group itself: {section}={Catalogue().groups[section].default}"
    if not any(other.rpartition(".")[2] == leaf for other in known) and (found := list(_elsewhere(leaf))):
        here = [name for name in found if name in known or name in GROUPS or not _is_optional(name)]
        return _asked(here or [_with_holders(name) for name in found])
    return did_you_mean(key, known)


def hint_for_name(name: str, known: Collection[str]) -> str:
    """Return a suggestion for an unknown setting, section or group."""
    return hint_for_key(name, known) if "." in name else hint_by_meaning(name) or did_you_mean(name, known)


def hint_for_option(group: str, name: str, known: Sequence[str]) -> str:
    """Return a suggestion for an unknown option of a group; `known` are its options."""
    words = option_meant(group, name, known)
    if not words and _squeezed(name) in _NO and "none" in known:
        words = f"{group}=none"
    if words or (near := did_you_mean(name, known)):
        return _asked([words]) if words else near
    if group == "model" and (network := _first_of_family(name)):
        return _asked([f"model=torchvision model.name={network}"])
    if advice := _advice(group, name, known):
        return f"{advice};"
    if group == "data" and (words := _data_at(name)):
        return _asked([words])
    others = [other for other in GROUPS if other != group and name in options(other, ())]
    return _asked([f"{other}={name}" for other in others])


def hint_for_word(name: str, value: str = "", tasks: Sequence[str] = ()) -> str:
    """Return a suggestion for an invalid word or flag: how to write it, with its value."""
    if name in _FLAGS_AS_WORDS:
        return _asked([f"--{name}"])
    if hint := hint_by_meaning(name, value, tasks):
        return hint
    if not name.startswith("-") and (words := _data_at(name)):
        return _asked([words])
    return did_you_mean(name.lstrip("-"), GROUPS)


def hint_by_meaning(name: str, value: str = "", tasks: Sequence[str] = ()) -> str:
    """Return a suggestion for a word that is a name here or elsewhere; none for one that is only similar."""
    plain = name.lstrip("-").replace("-", "_")
    behind = f"={value}" if value else ""
    if plain in GROUPS:
        return _asked([option_meant(plain, value, options(plain, ())) or plain + behind])
    if plain in tasks:
        return _asked([f"task={plain}"])
    if keys := keys_meant(plain):
        return _asked([redact_word(key + behind) if "=" not in key else key for key in keys])
    return _asked([words for group in GROUPS if (words := option_meant(group, name, options(group, ())))])


def hint_for_value(key: str, value: object, words: Iterable[str]) -> str:
    """Return a suggestion for a wrong value of a setting, from the words that it takes."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return ""
    table = VALUES.get(key, {})
    found = [word for word, names in table.items() if str(value).lower() in names.split()]
    return _asked(found) if found else did_you_mean(str(value), words)


def keys_meant(name: str) -> list[str]:
    """Return the settings, groups and words that a name without a section may mean, here or elsewhere."""
    if name in _every():
        return [name]
    leaves = [key for key in _every() if key.rpartition(".")[2] == name and "." in key]
    plain = [key for key in leaves if key in Catalogue().defaults]
    return plain or leaves[:3] or list(_elsewhere(name))


def option_meant(group: str, name: str, known: Sequence[str]) -> str:
    """Return the words that choose an option of a group, given its name elsewhere or in another spelling."""
    plain = _squeezed(name)
    for option in known:
        if plain in (_squeezed(option), _squeezed(option.rpartition("/")[2])):
            return f"{group}={option}"
    for words, names in OPTIONS.items():
        if words.startswith(f"{group}=") and plain in names.split():
            return words
    if group == "model":
        network = next((network for network in TORCHVISION if _squeezed(network) == plain), None)
        if network is not None:
            return f"model=torchvision model.name={network}"
        spelled = name.lower().replace("-", "_")
        if spelled.startswith(TIMM):
            return f"model=timm model.name={spelled}"
    return ""


def _first_of_family(name: str) -> str:
    """Return the first of torchvision's networks of a family, such as `vit`, or an empty string for none."""
    plain = _squeezed(name)
    named = (network for network in TORCHVISION if _squeezed(network).startswith(plain))
    return next(named, "") if len(plain) >= _LEAST_OF_A_FAMILY else ""


def _advice(group: str, name: str, known: Sequence[str]) -> str:
    """Return advice on a name that means no option of a group."""
    plain = _squeezed(name)
    for text, names in ADVICE.get(group, {}).items():
        if any(plain == each or (each.endswith("*") and plain.startswith(each[:-1])) for each in names.split()):
            return text
    named = [option for option in known if option not in ("auto", "none")]
    default = Catalogue().groups[group].default
    wanted = default if default in named else next(iter(named), "")
    return f"an option is chosen by its name, such as {group}={wanted}" if plain in _YES and wanted else ""


def options_having(key: str, own: Sequence[Path] = ()) -> list[str]:
    """Return the words that choose an option which has a setting, by the setting's full key."""
    group = key.partition(".")[0]
    return [f"{group}={option}" for option, _ in Catalogue(tuple(own)).having(key)]


def _elsewhere(name: str) -> Iterator[str]:
    """Yield our names for a name of other frameworks."""
    plain = name.lower().replace("-", "_")
    yield from (ours for ours, names in SETTINGS.items() if plain in names.split())


@functools.cache
def _every() -> frozenset[str]:
    """Return every setting of ours by full key."""
    return frozenset(key for key, setting in Catalogue().every.items() if not setting.is_section)


def _is_optional(name: str) -> bool:
    """Return whether a name is a setting that the default options do not have."""
    return "=" not in name and name.partition(".")[0] in GROUPS and name not in Catalogue().defaults


def _with_holders(name: str) -> str:
    """Return a setting with the options that have it."""
    holders = options_having(name)
    return f"{name} (of {', '.join(holders)})" if holders else name


def _data_at(name: str) -> str:
    """Return the words that train on the data at a path, quoted for a shell; empty if there is no data.

    Someone may give only the folder of their images, or the file of their arrays.
    """
    path = expanded(name)
    if not is_there(path):
        return ""
    option = "folder" if path.is_dir() else "arrays" if path.suffix in _FILES_OF_ARRAYS else ""
    root = f'"{name}"' if " " in name else name
    return redact_word(f"data={option} data.root={root}") if option else ""


def _squeezed(name: str) -> str:
    """Return a name for comparison: in lower case, without separators."""
    return name.lower().translate(_DROPPED)


def _asked(names: Sequence[str]) -> str:
    """Return `did you mean 'x' or 'y'?`."""
    return f"did you mean {' or '.join(repr(name) for name in names[:3])}?" if names else ""
