"""A progress bar beside long reading, where somebody looks on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

from nnrun.base.invocation import invocation
from nnrun.base.visible import visible

Item = TypeVar("Item")


def with_progress(what: str, items: Iterator[Item], total: int, size: Callable[[Item], int]) -> Iterator[Item]:
    """Yield items; on a terminal a bar shows how many of `total` are done, each item counting for its size."""
    if not sys.stderr.isatty() or invocation().is_quiet:
        yield from items
        return
    from rich.console import Console  # noqa: PLC0415 - rich is needed only while somebody waits
    from rich.markup import escape  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(escape(visible(what)), total=total)
        for item in items:
            yield item
            progress.update(task, advance=size(item))
