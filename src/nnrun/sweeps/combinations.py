"""The combinations of a grid: all of them, with settings that vary together, and without those that are excluded."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from nnrun.base.errors import Complaint, ConfigError
from nnrun.base.shown import counted
from nnrun.config.overrides import Typed
from nnrun.config.yaml_files import value_of

Point = dict[str, str]


def combine(axes: Sequence[Typed], zipped: Sequence[str], excluded: Sequence[str]) -> list[Point]:
    """Return the points of a grid, in the order in which they are typed.

    `zipped` are keys that vary together: their first values are one, their second values the next, and so on.
    `excluded` are points, or parts of them, such as `model=mlp,data=cifar10`. Raises ConfigError with what is wrong.
    """
    problems = _wrong_zip(axes, zipped)
    conditions = [_condition(text, axes, problems) for text in excluded]
    if problems:
        raise ConfigError(*problems)
    groups: list[list[Point]] = []
    for item in axes:
        if item.key not in zipped:
            groups.append([{item.key: choice} for choice in item.choices])
        elif item.key == next(other.key for other in axes if other.key in zipped):
            together = [other for other in axes if other.key in zipped]
            rows = zip(*(other.choices for other in together), strict=True)
            groups.append([dict(zip((other.key for other in together), row, strict=True)) for row in rows])
    points = [{key: value for part in parts for key, value in part.items()} for parts in itertools.product(*groups)]
    kept = [point for point in points if not any(_holds(condition, point) for condition in conditions)]
    for text, condition in zip(excluded, conditions, strict=True):
        if not any(_holds(condition, point) for point in points):
            raise ConfigError(f"sweep.exclude: {text!r} excludes nothing: no combination has these values")
    if not kept:
        raise ConfigError(
            f"sweep.exclude excludes all of the {counted(len(points), 'combination')}: leave out one of its entries"
        )
    return [{item.key: point[item.key] for item in axes} for point in kept]


def _wrong_zip(axes: Sequence[Typed], zipped: Sequence[str]) -> list[Complaint]:
    """Complain of keys that cannot vary together."""
    lengths = {item.key: len(item.choices) for item in axes}
    problems = [
        Complaint("sweep.zip", f"sweep.zip: {key} is not swept over; swept: {', '.join(lengths) or 'nothing'}")
        for key in zipped
        if key not in lengths
    ]
    if len(zipped) == 1:
        problems.append(Complaint("sweep.zip", f"sweep.zip=[{zipped[0]}] pairs nothing: name two settings or more"))
    if not problems and len({lengths[key] for key in zipped}) > 1:
        sizes = ", ".join(f"{key} {lengths[key]}" for key in zipped)
        problems.append(
            Complaint("sweep.zip", f"sweep.zip: settings that are paired need equally many values, but have: {sizes}")
        )
    return problems


def _condition(text: str, axes: Sequence[Typed], problems: list[Complaint]) -> Mapping[str, object]:
    """Return the values that an entry of sweep.exclude names, by key; add what is wrong with it to `problems`."""
    swept = {item.key for item in axes}
    found: dict[str, object] = {}
    for word in _words_in(text):
        key, equals, value = word.partition("=")
        if not equals:
            problems.append(Complaint("sweep.exclude", f"sweep.exclude: {word!r} in {text!r} is not key=value"))
        elif key not in swept:
            problems.append(Complaint("sweep.exclude", f"sweep.exclude: {key} in {text!r} is not swept over"))
        found[key] = value_of(value)
    return found


def _words_in(text: str) -> list[str]:
    """Return the words of an entry, between its commas; those in brackets belong to a value."""
    words, depth = [""], 0
    for letter in text:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and not depth:
            words.append("")
        else:
            words[-1] += letter
    return [word.strip() for word in words]


def _holds(condition: Mapping[str, object], point: Point) -> bool:
    """Return whether a point has the values of an entry of sweep.exclude."""
    return all(value_of(point[key]) == value for key, value in condition.items())
