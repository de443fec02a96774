"""The space that a search draws from: intervals and choices, and the settings that only some options have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from nnrun.config.overrides import as_typed

# A number of an interval, or the place of a word in a choice.
Value = float | int
# The values that a search chose, by swept key.
Point = Mapping[str, Value]
# Steps that a drawn number is rounded to: a thousandth of its interval, or four digits on a log scale.
_STEPS = 1000
_LOG_DIGITS = 4
# A space of more points is not listed: a search never gets to its end.
_MOST_POINTS = 10_000


@dataclass(frozen=True)
class Interval:
    """The numbers from low to high, both included; drawn evenly in their logarithm if `is_log`."""

    key: str
    low: float | int
    high: float | int
    is_log: bool = False
    is_whole: bool = False

    @property
    def num_values(self) -> float:
        """How many numbers there are to draw."""
        return int(self.high) - int(self.low) + 1 if self.is_whole else math.inf

    def values(self) -> list[Value]:
        """Return all whole numbers."""
        return list(range(int(self.low), int(self.high) + 1))

    def value_at(self, fraction: float) -> Value:
        """Return the number at a fraction of the interval, from 0 to 1, rounded as it will be typed."""
        # Each whole number has an equal share, those at the ends too.
        low, high = (self.low - 0.5, self.high + 0.5) if self.is_whole else (self.low, self.high)
        if self.is_log:
            return self.rounded(math.exp(math.log(low) + fraction * (math.log(high) - math.log(low))))
        return self.rounded(low + fraction * (high - low))

    def rounded(self, number: float) -> Value:
        """Return a number with no more digits than matter, within the interval."""
        if self.is_whole:
            return int(min(max(round(number), self.low), self.high))
        if self.is_log:
            short = float(f"{number:.{_LOG_DIGITS}g}")
        else:
            short = round(number, math.ceil(-math.log10((self.high - self.low) / _STEPS)))
        return float(min(max(short, self.low), self.high))

    def word(self, value: Value) -> str:
        """Return a number as typed; reading it gives the same number."""
        return _short(value)

    def value_of(self, word: str) -> Value:
        """Return the number that a word means; raise ValueError if it is none."""
        return int(word) if self.is_whole else float(word)


@dataclass(frozen=True)
class Choice:
    """Some words; `is_ordered` if they are rising numbers, of which the near ones are alike."""

    key: str
    words: tuple[str, ...]
    is_ordered: bool = False

    @property
    def num_values(self) -> float:
        """How many words there are."""
        return len(self.words)

    def values(self) -> list[Value]:
        """Return the places of all words."""
        return list(range(len(self.words)))

    def value_at(self, fraction: float) -> Value:
        """Return the place of the word at a fraction of the list, from 0 to 1."""
        return min(int(fraction * len(self.words)), len(self.words) - 1)

    def word(self, value: Value) -> str:
        """Return the word at a place."""
        return self.words[int(value)]

    def value_of(self, word: str) -> Value:
        """Return the place of a word; raise ValueError if it is none of them."""
        # Sweeps before 0.8 had the backslashes of Hydra's grammar in their words.
        return self.words.index(word if word in self.words else as_typed(self.key, word))


Dimension = Interval | Choice


@dataclass(frozen=True)
class Condition:
    """A setting exists only where `group` has one of the words `having`."""

    group: str
    having: frozenset[str]


@dataclass(frozen=True)
class Space:
    """All that is searched, in the order typed; a key without a condition always exists."""

    dimensions: tuple[Dimension, ...]
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Dimension:
        return next(item for item in self.dimensions if item.key == key)

    @property
    def keys(self) -> tuple[str, ...]:
        """The swept keys."""
        return tuple(item.key for item in self.dimensions)

    def in_order(self) -> tuple[Dimension, ...]:
        """Return the dimensions, those that others depend on first."""
        groups = {condition.group for condition in self.conditions.values()}
        return tuple(sorted(self.dimensions, key=lambda item: item.key not in groups))

    def exists(self, key: str, point: Point) -> bool:
        """Return whether a setting exists beside the options chosen so far."""
        condition = self.conditions.get(key)
        return condition is None or self[condition.group].word(point[condition.group]) in condition.having

    def words(self, point: Point) -> dict[str, str]:
        """Return the values of a point as typed, by key, in the order of the space."""
        return {item.key: item.word(point[item.key]) for item in self.dimensions if item.key in point}

    def point_of(self, words: Mapping[str, str]) -> dict[str, Value]:
        """Return the point that some words mean; raise ValueError if one is not of this space."""
        if unknown := words.keys() - set(self.keys):
            raise ValueError(f"{', '.join(sorted(unknown))} not in the space")
        return {item.key: item.value_of(words[item.key]) for item in self.dimensions if item.key in words}

    def points(self) -> list[dict[str, Value]] | None:
        """Return all points; None if there are too many to list."""
        sizes = [item.num_values for item in self.dimensions]
        if math.prod(sizes) > _MOST_POINTS:
            return None
        found: list[dict[str, Value]] = [{}]
        for item in self.in_order():
            found = [
                {**point, item.key: value} if value is not None else point
                for point in found
                for value in (item.values() if self.exists(item.key, point) else [None])
            ]
        return found


def _short(value: Value) -> str:
    """Return a number in its shortest form that reads back as the same: 0.001, 1e-5, 32."""
    text = repr(value)
    mantissa, has_exponent, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if has_exponent else text
