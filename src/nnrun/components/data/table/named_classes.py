"""Columns whose numbers stand for classes, as Hugging Face's data sets have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrun.base.errors import DataError
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.components.data.hub_sets import class_names, inner

if TYPE_CHECKING:
    import polars as pl


def with_names(frame: pl.DataFrame, features: Mapping[str, Any], path: Path) -> pl.DataFrame:
    """Return a frame whose numbers of classes, also in lists, are their names; a number below 0 is no class."""
    import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

    made = []
    for title in frame.columns:
        feature = features.get(title)
        names, names_inside = class_names(feature), class_names(inner(feature))
        if not frame.schema[title].is_integer() and not isinstance(frame.schema[title], pl.List):
            continue
        if names is not None:
            largest = int(frame[title].max() or 0)  # type: ignore[arg-type]
            if largest >= len(names):
                raise DataError(
                    f"{shown(path)}: {shown(title)} has the class {largest}, but {counted(len(names), 'name')}"
                )
            made.append(_named(pl.col(title), names))
        elif names_inside is not None:
            made.append(pl.col(title).list.eval(_named(pl.element(), names_inside)))
    return frame.with_columns(made)


def _named(numbers: pl.Expr, names: Sequence[str]) -> pl.Expr:
    """Return numbers as the names that they stand for; null for others."""
    import polars as pl  # noqa: PLC0415 - as above

    kind = pl.Enum(list(names)) if len(set(names)) == len(names) else pl.String
    return numbers.replace_strict(list(range(len(names))), list(names), default=None, return_dtype=kind)
