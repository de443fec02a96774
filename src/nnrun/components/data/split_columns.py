"""The group and the time of each sample, as data states them: in a column, in an array, or in the names of files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import torch

from nnrun.base.errors import ConfigError, DataError
from nnrun.base.paths import shown
from nnrun.base.visible import few
from nnrun.core.keyed_splits import SplitKeys
from nnrun.core.sample_hashes import as_tensor, whole

# The values of the samples of each split: texts or numbers.
Values = Mapping[str, Sequence[object]]
# The place of a sample for messages, by split and index: a file and line, or a file.
Place = Callable[[str, int], str]

_MOST_NAMED = 5
_DAY, _CLOCK = r"([0-9]{1,4})([./-])([0-9]{1,2})\2([0-9]{1,4})", r"([ T]+([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?)?"
_DATE = re.compile(_DAY + _CLOCK)
_NAMED_MONTHS = ("%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%Y-%m", "%Y/%m")


@dataclass(frozen=True)
class KeySettings:
    """The settings `data.group` and `data.time`: the title of a column, the name of an array, or a pattern.

    A pattern is a regular expression with one group in parentheses.
    """

    group: str | None = None
    time: str | None = None

    @property
    def titles(self) -> dict[str, str]:
        """The settings that are given, by name."""
        return {key: of for key, of in (("group", self.group), ("time", self.time)) if of is not None}


def split_keys(settings: KeySettings, found: Mapping[str, Values], at: Place) -> dict[str, SplitKeys]:
    """Return the keys of the samples of each split, from the values that were `found` for each setting that is given.

    Raises DataError that names the samples where a value is missing or no time, and groups that are in two splits.
    """
    if not found:
        return {}
    for key, values in found.items():
        refuse_missing(f"data.{key}={settings.titles[key]}", values, at)
    times, are_dates = _times(found["time"], at) if "time" in found else ({}, False)
    groups = {part: [str(value) for value in values] for part, values in found.get("group", {}).items()}
    _refuse_shared(f"data.group={settings.group}", groups)
    return {
        part: SplitKeys(
            groups=_numbers(groups[part]) if "group" in found else None,
            times=torch.tensor(times[part], dtype=torch.float64) if "time" in found else None,
            group=settings.group or "",
            time=settings.time or "",
            are_dates=are_dates,
        )
        for part in next(iter(found.values()))
    }


def is_pattern(setting: str) -> bool:
    """Return whether a setting is a pattern."""
    return "(" in setting


def from_names(key: str, pattern: str, names: Mapping[str, Sequence[str]], at: Place) -> dict[str, list[str]]:
    """Return what a pattern finds in the names of the files of each split; raise DataError where it finds nothing."""
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"data.{key}={pattern} is not a regular expression: {error}") from error
    if found.groups != 1:
        raise ConfigError(f"data.{key}={pattern} must have one group in parentheses, as in '_([0-9]+)_'")
    matches = {part: [found.search(name) for name in of] for part, of in names.items()}
    if wrong := [at(part, index) for part, of in matches.items() for index, match in enumerate(of) if match is None]:
        count = sum(map(len, matches.values()))
        raise DataError(f"data.{key}={pattern} matches nothing in {len(wrong):,} of {count:,} names: {few(wrong)}")
    return {part: [match[1] or "" for match in of if match is not None] for part, of in matches.items()}


def refuse_missing(setting: str, values: Values, at: Place) -> None:
    """Raise DataError that names the samples without a value."""
    places = ((part, index) for part, of in values.items() for index, value in enumerate(of) if _is_missing(value))
    _refuse(f"{at(part, index)} has no value for {setting}" for part, index in places)


def _refuse(problems: Iterable[str]) -> None:
    """Raise DataError with the first problems and the number of the others, if there are any."""
    listed = list(problems)
    if listed:
        rest = len(listed) - _MOST_NAMED
        raise DataError(*listed[:_MOST_NAMED], *([f"and {rest:,} more"] if rest > 0 else []))


def _is_missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _refuse_shared(setting: str, groups: Mapping[str, Sequence[str]]) -> None:
    """Raise DataError where a group is in two splits of the data."""
    parts = {part: set(of) for part, of in groups.items()}
    problems = []
    for number, (part, ours) in enumerate(parts.items()):
        for other, theirs in list(parts.items())[number + 1 :]:
            if shared := sorted(ours & theirs):
                which = "group" if len(shared) == 1 else "groups"
                names = few([shown(name) for name in shared])
                problems.append(
                    f"{setting}: {len(shared):,} {which} of the data's own splits are in both {part} and {other}: "
                    f"{names}; move each to one of them"
                )
    _refuse(problems)


def _numbers(groups: Sequence[str]) -> torch.Tensor:
    """Return a hash of each group's name, int64 `(N,)`: the same in any data."""
    hashes = {name: whole(name.encode("utf-8", "surrogateescape")) for name in set(groups)}
    return as_tensor(b"".join(hashes[name] for name in groups))


def _times(values: Values, at: Place) -> tuple[dict[str, list[float]], bool]:
    """Return the times of each split as numbers, and whether they are dates."""
    texts = {value for of in values.values() for value in of}
    numbers = {text: _number(text) for text in texts}
    if None not in numbers.values():
        return {part: [numbers[value] or 0.0 for value in of] for part, of in values.items()}, False
    dates = _dates({str(text) for text in texts}, values, at)
    return {part: [dates[str(value)] for value in of] for part, of in values.items()}, True


def _number(value: object) -> float | None:
    """Return a finite number, also one written as text, such as a year; None for anything else."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _dates(texts: set[str], values: Values, at: Place) -> dict[str, float]:
    """Return each text as seconds since 1970; raise DataError that names those that are no dates."""
    days_first = _days_first(texts)
    found = {text: _date(text, days_first) for text in texts}
    places = [(part, index, str(value)) for part, of in values.items() for index, value in enumerate(of)]
    _refuse(
        f"{at(part, index)}: {shown(text)} is not a date; write dates as 2024-03-31 or 2024-03-31 18:30, or as numbers"
        for part, index, text in places
        if found[text] is None
    )
    known = {text: of for text, of in found.items() if of is not None}
    aware = [of.tzinfo is not None for of in known.values()]
    if any(aware) != all(aware):
        part, index, text = next(place for place in places if known[place[2]].tzinfo is None)
        raise DataError(f"{at(part, index)}: {shown(text)} has no time zone, but other times do; give all of them one")
    return {text: (of if of.tzinfo else of.replace(tzinfo=UTC)).timestamp() for text, of in known.items()}


def _days_first(texts: set[str]) -> bool:
    """Return whether dates such as 03/04/2024 begin with the day; raise DataError where nothing tells."""
    pairs = [
        (int(match[1]), int(match[3]))
        for match in map(_DATE.fullmatch, texts)
        if match is not None and match[2] != "." and len(match[1]) < 3 and len(match[4]) == 4
    ]
    if not pairs or any(first > 12 for first, _ in pairs):
        return True
    if any(second > 12 for _, second in pairs):
        return False
    example = next(text for text in sorted(texts) if _DATE.fullmatch(text))
    raise DataError(f"{shown(example)} may begin with the day or the month, and no date tells; write 2024-03-31")


def _date(text: str, days_first: bool) -> datetime | None:
    """Return a text as a date; None where it is not one."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        if match := _DATE.fullmatch(text):
            start, middle, end = match[1], match[3], match[4]
            day, month, year = (start, middle, end) if days_first or match[2] == "." else (middle, start, end)
            if len(start) == 4:
                year, month, day = start, middle, end
            hour, minute, second = (int(of or 0) for of in match.group(6, 7, 8))
            return datetime(int(year), int(month), int(day), hour, minute, second) if len(year) == 4 else None
    except ValueError:
        return None
    for form in _NAMED_MONTHS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None
