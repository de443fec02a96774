"""The columns of a table that a network reads, and what was learned about them, as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Kind = Literal["number", "date", "boolean", "category"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# What a cell of a column of categories may be besides a known category, as numbers: empty, or one that is not known.
MISSING, UNKNOWN, FIRST_KNOWN = 0, 1, 2
# A checkpoint holds strings of a limited length.
_MOST_CHARACTERS = 8000


@dataclass(frozen=True)
class Feature:
    """A number that a network gets of a column: the column's own, or a part of a date.

    `center` is the median of the training samples and `scale` the reciprocal of their interquartile range; `edges` are
    the edges of bins that hold about the same number of samples, ascending.
    """

    name: str
    center: float = 0.0
    scale: float = 1.0
    edges: tuple[float, ...] = (0.0, 1.0)


@dataclass(frozen=True)
class Column:
    """A column: a number or a date, which has `features`, or a boolean or a category, which has `categories`.

    `written` says how numbers and dates are written in text. A column `has_missing` if training samples lack it.
    """

    name: str
    kind: Kind
    written: str = ""
    has_missing: bool = False
    features: tuple[Feature, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def is_numeric(self) -> bool:
        """Whether a network gets numbers of it."""
        return self.kind in ("number", "date")

    @property
    def num_codes(self) -> int:
        """How many numbers stand for its categories, with those for a missing and for an unknown one."""
        return FIRST_KNOWN + len(self.categories)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Column:
        """Return the column that `to_dict` described; raise ValueError if it is malformed."""
        try:
            features = tuple(
                Feature(str(of["name"]), float(of["center"]), float(of["scale"]), tuple(map(float, of["edges"])))
                for of in plain["features"]
            )
            if plain["kind"] not in KINDS or not all(isinstance(name, str) for name in plain["categories"]):
                raise ValueError(f"a column of an unknown kind, {str(plain['kind'])[:40]!r}")
            return cls(
                str(plain["name"]),
                plain["kind"],
                str(plain["written"]),
                bool(plain["has_missing"]),
                features,
                tuple(plain["categories"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"a malformed column: {error}") from error


def packed(columns: Sequence[Column]) -> list[str]:
    """Return columns as a few strings that a checkpoint can hold, whatever their names and categories: JSON in parts.

    There are only ASCII characters, and no `$` that somebody might interpolate.
    """
    return _in_parts([column.to_dict() for column in columns])


def packed_titles(titles: Sequence[str]) -> list[str]:
    """Return the titles of columns likewise."""
    return _in_parts(list(titles))


def _in_parts(plain: Any) -> list[str]:
    text = json.dumps(plain).replace("$", "\\u0024")
    return [text[start : start + _MOST_CHARACTERS] for start in range(0, len(text), _MOST_CHARACTERS)]


def unpacked(parts: Sequence[str]) -> tuple[Column, ...]:
    """Return the columns that `packed` described; raise ValueError if they are malformed."""
    plain = json.loads("".join(parts))
    if not isinstance(plain, list) or not all(isinstance(item, dict) for item in plain):
        raise ValueError("the columns of a table are malformed")
    return tuple(map(Column.from_dict, plain))


def unpacked_titles(parts: Sequence[str]) -> tuple[str, ...]:
    """Return the titles that `packed_titles` described; raise ValueError if they are malformed."""
    plain = json.loads("".join(parts))
    if not isinstance(plain, list) or not all(isinstance(item, str) for item in plain):
        raise ValueError("the titles of a table are malformed")
    return tuple(plain)
