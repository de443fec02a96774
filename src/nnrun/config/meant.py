"""What a name that is wrong here may mean: a setting, an option, or what other frameworks call one of ours.

Needs no torch; the YAML files are read only when there is something to say.
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
# Characters without which names are compared.
_DROPPED = str.maketrans(dict.fromkeys("_- /."))
# What people type to have something, or not.
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
# Of networks' names: what is shorter begins too many.
_LEAST_OF_A_FAMILY = 3
# Where other frameworks name the class of a section.
_NAMES_A_CLASS = ("name", "type", "class", "kind")


def hint_for_key(key: str, known: Collection[str]) -> str:
    """Return what may be meant by a key that nothing reads, of the settings that are known here or others."""
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
    """Return what may be meant by a name that should be that of a setting, a section or a group."""
    return hint_for_key(name, known) if "." in name else hint_by_meaning(name) or did_you_mean(name, known)


def hint_for_option(group: str, name: str, known: Sequence[str]) -> str:
    """Return what may be meant by an option that a group has not; `known` are those that it has."""
    words = option_meant(group, name, known)
    if not words and _squeezed(name) in _NO and "none" in known:
        words = f"{group}=none"
    if words or (near := did_you_mean(name, known)):
        return _asked([words]) if words else near
    if group == "model" and (network := _first_of_family(name)):
        return _asked([f"model=torchvision model.name={network}"])
    if advice := _advice(group, name, known):
        return f"{advice};"
    if group == "data" and _is_folder(name):
        return _asked([_of_folder(name)])
    others = [other for other in GROUPS if other != group and name in options(other, ())]
    return _asked([f"{other}={name}" for other in others])


def hint_for_word(name: str, value: str = "", tasks: Sequence[str] = ()) -> str:
    """Return what may be meant by a word, or a flag, that is none: with its value, as it has to be written."""
    if name in _FLAGS_AS_WORDS:
        return _asked([f"--{name}"])
    if hint := hint_by_meaning(name, value, tasks):
        return hint
    if not name.startswith("-") and _is_folder(name):
        return _asked([_of_folder(name)])
    return did_you_mean(name.lstrip("-"), GROUPS)


def hint_by_meaning(name: str, value: str = "", tasks: Sequence[str] = ()) -> str:
    """Return what is meant by a word that is the name of something, here or elsewhere; nothing of one that is near."""
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
    """Return which of the words that a setting takes may be meant by a value."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return ""
    table = VALUES.get(key, {})
    found = [word for word, names in table.items() if str(value).lower() in names.split()]
    return _asked(found) if found else did_you_mean(str(value), words)


def keys_meant(name: str) -> list[str]:
    """Return the settings, groups and words that a name without a section may mean: by its own name, or another's."""
    if name in _every():
        return [name]
    leaves = [key for key in _every() if key.rpartition(".")[2] == name and "." in key]
    plain = [key for key in leaves if key in Catalogue().defaults]
    return plain or leaves[:3] or list(_elsewhere(name))


def option_meant(group: str, name: str, known: Sequence[str]) -> str:
    """Return the words that choose an option of a group by what it is called elsewhere, or in another spelling."""
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
    """Return the first of torchvision's networks of a family, `vit` or `efficientnet`; an empty text for no family."""
    plain = _squeezed(name)
    named = (network for network in TORCHVISION if _squeezed(network).startswith(plain))
    return next(named, "") if len(plain) >= _LEAST_OF_A_FAMILY else ""


def _advice(group: str, name: str, known: Sequence[str]) -> str:
    """Return what is said of a name that means no option of a group."""
    plain = _squeezed(name)
    for text, names in ADVICE.get(group, {}).items():
        if any(plain == each or (each.endswith("*") and plain.startswith(each[:-1])) for each in names.split()):
            return text
    named = [option for option in known if option not in ("auto", "none")]
    default = Catalogue().groups[group].default
    wanted = default if default in named else next(iter(named), "")
    return f"an option is chosen by its name, such as {group}={wanted}" if plain in _YES and wanted else ""


def options_having(key: str, own: Sequence[Path] = ()) -> list[str]:
    """Return the words that choose an option which has a setting, by its full key; none where all have it."""
    group = key.partition(".")[0]
    return [f"{group}={option}" for option, _ in Catalogue(tuple(own)).having(key)]


def _elsewhere(name: str) -> Iterator[str]:
    """Yield what a name means that other frameworks have."""
    plain = name.lower().replace("-", "_")
    yield from (ours for ours, names in SETTINGS.items() if plain in names.split())


@functools.cache
def _every() -> frozenset[str]:
    """Return every setting of ours by full key."""
    return frozenset(key for key, setting in Catalogue().every.items() if not setting.is_section)


def _is_optional(name: str) -> bool:
    """Return whether a name is that of a setting which only some options have."""
    return "=" not in name and name.partition(".")[0] in GROUPS and name not in Catalogue().defaults


def _with_holders(name: str) -> str:
    """Return a setting with the options that have it."""
    holders = options_having(name)
    return f"{name} (of {', '.join(holders)})" if holders else name


def _is_folder(name: str) -> bool:
    """Return whether a word names a folder that is there, as of someone who names the images alone."""
    path = expanded(name)
    return is_there(path) and path.is_dir()


def _of_folder(name: str) -> str:
    """Return the words that take the images in a folder, as a shell reads them."""
    return redact_word(f'data=folder data.root="{name}"' if " " in name else f"data=folder data.root={name}")


def _squeezed(name: str) -> str:
    """Return a name as it is compared: in lower case, without what some write between its words."""
    return name.lower().translate(_DROPPED)


def _asked(names: Sequence[str]) -> str:
    """Return `did you mean 'x' or 'y'?`."""
    return f"did you mean {' or '.join(repr(name) for name in names[:3])}?" if names else ""
