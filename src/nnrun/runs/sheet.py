"""A table of texts that drops columns on a narrow terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.containers import Lines
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

from nnrun.base import shown
from nnrun.base.visible import visible

# Between the items of a cell, such as metrics with their values.
_ITEM_GAP = "  "
# Rows of a table that are shown on the console.
MOST_ROWS = 40
# Spaces between two columns, without a box and in one.
_COLUMN_GAP, _BOXED_GAP = 2, 3


class _Items(Text):
    """A text that breaks between its items, and within one only if that is longer than a line."""

    def wrap(self, console: Console, width: int, **settings: Any) -> Lines:  # type: ignore[override]
        """Return the lines of at most `width` characters."""
        if settings.get("no_wrap") or settings.get("overflow") != "fold":
            return super().wrap(console, width, **settings)
        rows: list[Text] = []
        for item in self.split(_ITEM_GAP):
            if rows and rows[-1].cell_len + len(_ITEM_GAP) + item.cell_len <= width:
                rows[-1] = Text(_ITEM_GAP).join([rows[-1], item])
            else:
                rows.append(item)
        return Lines(line for row in rows for line in row.wrap(console, width, **settings))


class Sheet(Table):
    """A table whose texts are shown literally: no markup, no control characters.

    On a narrow terminal, the least important columns are dropped whole: no number is cut.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._settings = settings
        self._gap = _COLUMN_GAP if self.box is None else _BOXED_GAP
        self._columns: list[tuple[Text, dict[str, Any], int, int | None]] = []
        self._rows: list[tuple[list[Text | None], StyleType | None]] = []

    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        """Add a row of texts."""
        texts = list(map(_plain, cells))
        self._rows.append((texts, style))
        super().add_row(*texts, style=style, end_section=end_section)

    def add_column(
        self,
        header: RenderableType = "",
        *rest: Any,
        importance: int = 0,
        least_width: int | None = None,
        **more: Any,
    ) -> None:
        """Add a column. A higher `importance` is dropped sooner, 0 never. It may shrink to `least_width`."""
        title = _plain(header) or Text()
        self._columns.append((title, more, importance, least_width))
        super().add_column(title, *rest, **more)

    def fitted(self, width: int) -> tuple[Sheet, list[str]]:
        """Return the table with the columns that fit a width, and the titles of the dropped ones."""
        kept = list(range(len(self._columns)))
        while self._needs(kept) > width and any(self._columns[index][2] for index in kept):
            kept.remove(max(kept, key=lambda index: (self._columns[index][2], index)))
        too_much = sum(map(self._natural, kept)) - width
        shrinking = {index for index in kept if self._columns[index][3] is not None and too_much > 0}
        if len(kept) == len(self._columns) and not shrinking:
            return self, []
        sheet = Sheet(**self._settings)
        for index in kept:
            title, more, _, least_width = self._columns[index]
            if index in shrinking:
                more = more | {"max_width": max(least_width or 1, self._natural(index) - self._gap - too_much)}
            sheet.add_column(title, **more)
        for cells, style in self._rows:
            sheet.add_row(*(cells[index] if index < len(cells) else None for index in kept), style=style)
        return sheet, [title.plain for index, (title, *_) in enumerate(self._columns) if index not in kept]

    def has_room_for(self, title: str, text: str, *, width: int) -> bool:
        """Return whether a row of a table of two columns fits a width."""
        return max(self._natural(0), len(title) + self._gap) + len(text) + self._gap <= width

    def _natural(self, index: int) -> int:
        """Return the full width of a column, with the gap after it."""
        cells = [self._columns[index][0], *(cells[index] for cells, _ in self._rows if index < len(cells))]
        return max(cell.cell_len if cell else 0 for cell in cells) + self._gap

    def _needs(self, kept: Sequence[int]) -> int:
        """Return the minimum width of some columns."""
        return sum(min(self._natural(index), (self._columns[index][3] or 10_000) + self._gap) for index in kept)


def _plain(cell: RenderableType | None) -> Text | None:
    """Return a cell as literal text."""
    if isinstance(cell, Text):
        return cell if visible(cell.plain) == cell.plain else Text(visible(cell.plain), style=cell.style)
    return None if cell is None else _Items(visible(str(cell)))


def unfilled(console: Console, sheet: Sheet) -> str:
    """Return a table as a console prints it, without the spaces at the ends of its lines."""
    with console.capture() as printed:
        console.print(sheet)
    return "".join(f"{line.rstrip()}\n" for line in printed.get().splitlines())


def sheet_of(table: shown.Table, most_rows: int = MOST_ROWS) -> Sheet:
    """Return a table that was found, for the console; of many rows the first, with the summary in the last."""
    sheet = Sheet(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for place, title in enumerate(table.columns):
        is_last = place == len(table.columns) - 1
        sheet.add_column(title, overflow="fold", style="" if place else "cyan", least_width=20 if is_last else None)
    rows = table.rows if len(table.rows) <= most_rows else table.rows[: most_rows - 1]
    for row in rows:
        sheet.add_row(*map(str, row))
    if len(rows) < len(table.rows):
        more = f"and {len(table.rows) - len(rows):,} more"
        sheet.add_row(more, *[""] * (len(table.columns) - 2), f"in all: {table.summary}")
    return sheet
