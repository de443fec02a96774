"""From words to a space: Hydra's grammar of sweeps on the command line, and `sweep.space` of a YAML file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnrun.base.errors import Complaint, ConfigError, did_you_mean
from nnrun.config.folders import GROUPS, options
from nnrun.config.meant import hint_for_key, hint_for_name, hint_for_option
from nnrun.config.option_files import option_settings
from nnrun.config.overrides import Typed, parse_all
from nnrun.config.ranges import Range, is_number
from nnrun.config.schema import NAMED_SECTIONS, RunSettings
from nnrun.config.yaml_files import value_of
from nnrun.sweeps.search.space import Choice, Condition, Dimension, Interval, Space

# The one tag of Hydra's grammar that means something to a search.
LOG = "log"
_AUTO = "auto"


def space_of(typed: Sequence[Typed], own: Sequence[Path], ranges: Mapping[str, Range]) -> Space:
    """Return the space that the swept words describe; raise ConfigError with all that is wrong with them.

    `own` are the user's config folders, and `ranges` the allowed values of settings, by full key.
    """
    problems: list[Complaint] = []
    dimensions: list[Dimension] = []
    for item in typed:
        if item.is_sweep:
            dimension = _choice(item) if item.interval is None else _interval(item)
            wrong = [dimension] if isinstance(dimension, Complaint) else list(_wrong(dimension, own, ranges))
            problems += wrong
            if not isinstance(dimension, Complaint):
                dimensions.append(dimension)
    twice = sorted({item.key for item in dimensions if sum(item.key == other.key for other in dimensions) > 1})
    problems += [Complaint(key, f"{key} is searched twice; remove one of the words") for key in twice]
    if not dimensions and not problems:
        problems.append(Complaint("", _nothing_to_search()))
    conditions = {} if problems else dict(_conditions(dimensions, own, problems))
    if problems:
        raise ConfigError(*problems)
    return Space(tuple(dimensions), conditions)


def words_of_space(space: Any) -> list[str]:
    """Return `sweep.space` of a YAML file as words of a command line: a list of words, or a section of settings."""
    if space is None:
        return []
    if isinstance(space, Mapping):
        return [f"{key}={_as_typed(value)}" for key, value in _flat(space)]
    if isinstance(space, list) and all(isinstance(word, str) and "=" in word for word in space):
        return list(space)
    raise ConfigError.of("sweep.space", space, "settings, each with what is searched, such as model: mlp,cnn")


def parse_space(space: Any, typed: Sequence[Typed]) -> list[Typed]:
    """Return the words of `sweep.space`; a key that is also typed on the command line is left out: that one counts."""
    found, problems = parse_all(words_of_space(space))
    plain = [item for item in found if not item.is_sweep]
    problems += [
        Complaint(item.key, f"sweep.space: {item.word!r} is one value; set it outside of sweep.space") for item in plain
    ]
    if problems:
        raise ConfigError(*problems)
    named = {item.key for item in typed}
    return [item for item in found if item.key not in named]


def _flat(section: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full key and the value of each setting of a section, which may be nested or have dots in its keys."""
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _as_typed(value: Any) -> str:
    """Return a value of `sweep.space` as typed; a YAML list is a choice of its items."""
    if not isinstance(value, list):
        return str(value)
    return f"choice({','.join('null' if item is None else str(item) for item in value)})"


def _nothing_to_search() -> str:
    return (
        "a search needs settings to search, such as 'optimizer.lr=tag(log,interval(1e-5,1e-1))' or model=mlp,cnn, "
        "on the command line or in sweep.space of an experiment"
    )


def _interval(item: Typed) -> Interval | Complaint:
    """Return the interval of a word, or what is wrong with it."""
    sweep = item.interval
    assert sweep is not None, "the caller looked"
    if others := sorted(set(sweep.tags) - {LOG}):
        return Complaint(item.key, f"{item.word!r} has the tag {others[0]}; the only tag with a meaning here is {LOG}")
    low, high = sweep.start, sweep.end
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low < high):
        return Complaint(item.key, f"{item.word!r} is empty; write interval(LOW,HIGH) with LOW below HIGH")
    if LOG in sweep.tags and low <= 0:
        return Complaint(
            item.key, f"{item.word!r} has no logarithm at {low:g}; begin above 0, or leave out tag(log,...)"
        )
    is_whole = isinstance(low, int) and isinstance(high, int)
    return Interval(item.key, low, high, LOG in sweep.tags, is_whole)


def _choice(item: Typed) -> Choice | Complaint:
    """Return the choice of a word, or what is wrong with it."""
    words = tuple(dict.fromkeys(item.choices))
    if not words:
        return Complaint(item.key, f"{item.word!r} names no value")
    values = [value_of(word) for word in words]
    is_ordered = len(words) > 1 and all(map(is_number, values)) and values == sorted(set(values))
    return Choice(item.key, words, is_ordered)


def _wrong(dimension: Dimension, own: Sequence[Path], ranges: Mapping[str, Range]) -> Iterator[Complaint]:
    """Yield what is wrong with a dimension: an unknown group, option or section, values out of range."""
    key = dimension.key
    if isinstance(dimension, Interval) and key in GROUPS:
        yield Complaint(
            key, f"{key} is a group: search over its options, such as {key}={','.join(options(key, own)[:2])}"
        )
        return
    if isinstance(dimension, Choice) and key in GROUPS:
        known = options(key, own)
        for name in dict.fromkeys(name for word in dimension.words for name in _options_in(word)):
            if name not in known:
                hint = hint_for_option(key, name, known) or did_you_mean(name, known)
                yield Complaint(key, f"{key}={name} is not an option; {hint} available: {', '.join(known)}")
        return
    known_names = (*GROUPS, *RunSettings.__dataclass_fields__)
    if (section := key.partition(".")[0]) not in known_names:
        hint = hint_for_name(key, known_names)
        yield Complaint(key, f"cannot search over {key}: there is no {'section' if '.' in key else 'group'} {section}"
                        + (f"; {hint}" if hint else ""))  # fmt: skip
        return
    allowed = ranges.get(key)
    if isinstance(dimension, Interval) and allowed is not None:
        for end in (dimension.low, dimension.high):
            if not allowed.holds(end):
                yield Complaint.of(key, end, allowed.allowed, "it is an end of the interval")


def _options_in(word: str) -> list[str]:
    """Return the options that a word chooses: one, or those of a list."""
    value = value_of(word)
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _conditions(
    dimensions: Sequence[Dimension], own: Sequence[Path], problems: list[Complaint]
) -> Iterator[tuple[str, Condition]]:
    """Yield, by key, the condition of each setting that only some of the searched options have.

    A setting that none of them has is added to `problems`.
    """
    groups = {item.key: item for item in dimensions if isinstance(item, Choice) and item.key in GROUPS}
    for item in dimensions:
        group = groups.get(item.key.partition(".")[0])
        if group is None or group is item:
            continue
        having = [
            word for word in group.words if any(_has(group.key, name, item.key, own) for name in _options_in(word))
        ]
        if not having:
            hint = hint_for_key(item.key, ())
            text = f"{item.key} is a setting of none of {', '.join(group.words)}" + (f"; {hint}" if hint else "")
            problems.append(Complaint(item.key, text))
        elif len(having) < len(group.words):
            yield item.key, Condition(group.key, frozenset(having))


def _has(group: str, option: str, key: str, own: Sequence[Path]) -> bool:
    """Return whether an option has a setting; what `auto` becomes is known only later."""
    if option == _AUTO:
        return True
    if group in NAMED_SECTIONS and not key.startswith(f"{group}.{option}."):
        return False
    return any(
        # A setting that is a mapping, such as the arguments of a network of a library, may hold any key.
        key == setting.key or (not setting.is_section and key.startswith(f"{setting.key}."))
        for setting in option_settings(group, option, own)
    )
