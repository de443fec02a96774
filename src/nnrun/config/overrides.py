"""The `key=value` words of the command line, parsed by Hydra's grammar, with paths taken literally."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nnrun.base.errors import Complaint, ConfigError
from nnrun.base.paths import is_there
from nnrun.base.secrets import redact_word
from nnrun.config.folders import GROUPS, options
from nnrun.config.hydra_words import in_our_words
from nnrun.config.meant import hint_for_word, keys_meant
from nnrun.config.schema import NAMED_SECTIONS
from nnrun.config.typed_paths import PATH_KEYS, SWEPT_PATHS

# Settings that are lists; a single word needs no brackets.
LISTS = ("trust",)


@dataclass(frozen=True)
class Typed:
    """One word of the command line: the key without its `+`, the value or values, and the word as typed.

    A sweep has either choices or an interval, which only a search can draw from.
    """

    key: str
    value: Any
    word: str
    is_sweep: bool = False
    choices: tuple[str, ...] = ()
    interval: IntervalSweep | None = None

    @property
    def is_group(self) -> bool:
        """Whether the word chooses options of a group."""
        return self.key in GROUPS


def parse_all(
    words: Sequence[str], tasks: Sequence[str] = (), own: Sequence[Path] = ()
) -> tuple[list[Typed], list[Complaint]]:
    """Return the words that could be parsed, and a complaint for each other one.

    `tasks` are the names of tasks; `own` are the user's config folders, whose options `glob()` finds too.
    """
    typed: list[Typed] = []
    rest, problems = in_our_words(words)
    parser = OverridesParser.create()
    while rest:
        word = rest.pop(0)
        key, equals, value = word.partition("=")
        if word.startswith("~"):
            bare = key[1:]
            problems.append(Complaint(bare, f"{word!r} would delete a setting; {_instead_of_deleting(bare)}"))
        elif not equals or not key.strip("+"):
            problems.append(Complaint("", _not_an_override(word, rest, tasks)))
        elif value == "":
            text = f"{key} has no value; write one after the =, or {key}=null if it is optional"
            problems.append(Complaint(key, text))
        elif key in PATH_KEYS:
            typed.append(_path(key, value, word))
        else:
            try:
                typed.append(_from_hydra(parser.parse_override(word), word, own))
            except HydraException:
                try:
                    typed.append(Typed(key, _plain(value), word))
                except ValueError:
                    quoted = f"put two pairs of quotes around the value: {key}='\"...\"'"
                    problems.append(Complaint(key, f"{redact_word(word)!r} cannot be parsed; {quoted}"))
            except ValueError as error:
                problems.append(Complaint(key, str(error)))
    return typed, problems


def _plain(value: str) -> Any:
    """Return a value that Hydra's grammar refuses though it can mean only one thing; raise ValueError for any other.

    It is a text of letters that are not ASCII, or a list or a mapping with such texts or with quoted keys, which is
    read as YAML.
    """
    if "$" not in value and value[0] + value[-1] in ("[]", "{}"):
        try:
            return OmegaConf.to_container(OmegaConf.create(value))
        except (OmegaConfBaseException, YAMLError, ValueError) as error:
            raise ValueError(value) from error
    if not value.replace(" ", "").isidentifier():
        raise ValueError(value)
    return value


def _path(key: str, value: str, word: str) -> Typed:
    """Return a path literally, but without the quotes that Hydra's grammar asks for."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    plain = value[1:-1] if quoted else value
    if key in SWEPT_PATHS and "," in plain and not quoted and not is_there(plain):
        return Typed(key, None, word, is_sweep=True, choices=tuple(plain.split(",")))
    return Typed(key, None if plain == "null" and not quoted else plain, word)


def _from_hydra(override: Override, word: str, own: Sequence[Path]) -> Typed:
    """Return a parsed override; raise ValueError for the forms of Hydra's grammar that have no meaning here."""
    key = override.key_or_group
    if override.package is not None:
        raise ValueError(f"{word!r} moves a section to another place, where nothing reads it; write {key}=...")
    if override.is_interval_sweep():
        interval = override.value()
        assert isinstance(interval, IntervalSweep), "Hydra says so"
        return Typed(key, None, word, is_sweep=True, interval=interval)
    if override.is_sweep_override():
        pattern = override.value()
        if isinstance(pattern, Glob):
            choices = _matching(key, pattern, word, own)
        else:
            choices = tuple(as_typed(key, str(choice)) for choice in override.sweep_string_iterator())
        return Typed(key, None, word, is_sweep=True, choices=choices)
    value = override.value()
    if key in LISTS and isinstance(value, str):
        value = [value]
    if key in GROUPS and value is None:
        value = "none"
    return Typed(key, value, word)


def as_typed(key: str, value: str) -> str:
    """Return a value without the backslashes that Hydra puts into it, such as cuda:3, if it means the same then."""
    plain = re.sub(r"\\(.)", r"\1", value)
    if plain == value:
        return value
    parser = OverridesParser.create()
    try:
        before, after = (parser.parse_override(f"{key}={it}") for it in (value, plain))
    except HydraException:
        return value
    return plain if not after.is_sweep_override() and before.value() == after.value() else value


def _matching(group: str, pattern: Glob, word: str, own: Sequence[Path]) -> tuple[str, ...]:
    """Return the options of a group that a `glob()` matches, in alphabetical order; raise ValueError if there are none.

    As in Hydra, `*` leaves out the options in subfolders, which a pattern with a `/` names.
    """
    if group not in GROUPS:
        raise ValueError(f"{word!r}: glob() finds options of a group, and {group} is a setting: list its values")
    known = options(group, own)
    found = [name for name in pattern.filter(known) if "/" not in name or any("/" in one for one in pattern.include)]
    if not found:
        raise ValueError(f"{word!r} matches no option of {group}; available: {', '.join(known)}")
    return tuple(found)


def _instead_of_deleting(key: str) -> str:
    """Return what to write in place of a word that would delete a setting; not every group has an option none."""
    if key not in GROUPS:
        return f"write {key}=null"
    return f"write {key}=none" if "none" in options(key, ()) else f"choose another option with {key}="


def _not_an_override(word: str, rest: list[str], tasks: Sequence[str]) -> str:
    """Return the message for a word without `=`; if its value comes next, remove that from `rest`."""
    named = word in GROUPS or bool(keys_meant(word))
    is_followed = named and rest and "=" not in rest[0] and rest[0] not in GROUPS and not keys_meant(rest[0])
    value = rest.pop(0) if is_followed else None
    if word in GROUPS and value is None:
        hint = f"write the option after it, such as {word}={options(word, ())[0]}"
    else:
        hint = hint_for_word(word, value or "...", tasks)
    return f"{word!r} is neither a flag nor key=value; {hint or 'nnrun --help lists the settings'}"


def ambiguous(typed: Sequence[Typed]) -> list[Complaint]:
    """Complain of each word that names several values outside a sweep."""
    return [
        Complaint(
            item.key,
            f"{redact_word(item.word)!r} names several values; sweep over them with nnrun -m"
            + (" and a search, such as sweep=random" if item.interval is not None else "")
            + (f", or write a list: '{item.key}=[...]'" if not item.is_group or item.key in NAMED_SECTIONS else ""),
        )
        for item in typed
        if item.is_sweep
    ]


def jobs_of(typed: Sequence[Typed]) -> Iterator[list[str]]:
    """Yield the words of each job of a sweep: one for each combination of the values named.

    Raises ConfigError for an interval, which has no list of values.
    """
    if problems := without_a_search(typed):
        raise ConfigError(*problems)
    axes = [[f"{item.key}={choice}" for choice in item.choices] if item.is_sweep else [item.word] for item in typed]
    for words in itertools.product(*axes):
        yield list(words)


def without_a_search(typed: Sequence[Typed]) -> list[Complaint]:
    """Complain of each interval: only a search can draw from it."""
    return [
        Complaint(
            item.key,
            f"{redact_word(item.word)!r} is an interval, which a grid cannot list; search it with sweep=random "
            f"(or tpe, gp, cmaes), or name the values: {item.key}=A,B,C",
        )
        for item in typed
        if item.interval is not None
    ]
