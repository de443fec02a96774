"""Record the work of a device once, to replay it as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Recorder(Protocol):
    """Records work on memory that stays where it is."""

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what repeats the operations of `work` on the same memory; they are recorded, not carried out.

        Random draws are those of the generators' states at each replay. Raises an error if something in `work` cannot
        be recorded.
        """
        ...
