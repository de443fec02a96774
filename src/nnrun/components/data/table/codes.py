"""The codes of the cells of a column, for callers who code their rows themselves, and for formats that do it inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnrun.components.data.table.columns import FIRST_KNOWN, MISSING, UNKNOWN, Column
from nnrun.components.data.table.kinds import EMPTY, FALSE, TRUE

_TYPES = {"number": "float32", "date": "float64", "boolean": "string", "category": "string"}


def input_type(column: Column) -> str:
    """Return the type of the cells of a column as a deployed network takes them."""
    return _TYPES[column.kind]


def code_of_each_text(column: Column) -> dict[str, int]:
    """Return the code of each text that a cell of a column of categories may be; any other is UNKNOWN."""
    known = {name: place for place, name in enumerate(column.categories, FIRST_KNOWN)}
    if column.kind == "boolean":
        words = {"true": TRUE, "false": FALSE}
        known = {
            form: code
            for name, code in known.items()
            for word in words.get(name, (name,))
            for form in (word, word.capitalize(), word.upper())
        }
    return dict.fromkeys(("", *EMPTY), MISSING) | known


def beside(columns: Sequence[Column]) -> dict[str, Any]:
    """Return how the rows of a table are coded, as plain values: for each column its place in which tensor.

    `numbers` are float32, NaN where a cell is empty: a number as it is; of a date the days since 1970, the month, the
    weekday (Monday is 1) and the hour, as the features say; `written` is how the training's file writes them, such as
    $1,234.5. `categories` are int64 codes.
    """
    found: list[dict[str, Any]] = []
    number = category = 0
    for column in columns:
        about: dict[str, Any] = {"name": column.name, "kind": column.kind}
        if column.written:
            about["written"] = column.written
        if column.is_numeric:
            last = number + len(column.features)
            parts = [feature.name.removeprefix(column.name).removeprefix(".") or "value" for feature in column.features]
            found.append({**about, "tensor": "numbers", "places": list(range(number, last)), "features": parts})
            number = last
        else:
            codes = code_of_each_text(column)
            found.append({**about, "tensor": "categories", "places": [category], "codes": codes, "any_other": UNKNOWN})
            category += 1
    return {"columns": found}
