"""Show libraries' tracebacks, warnings and log records without characters that a terminal obeys."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings

from nnrun.base.visible import visible_lines


def show_traceback() -> None:
    """Write the traceback of the current exception to stderr."""
    sys.stderr.write(visible_lines(traceback.format_exc()))


class _VisibleFormatter(logging.Formatter):
    """Format records as usual, without characters that a terminal obeys."""

    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(super().format(record))


def ignore_pillow() -> None:
    """Ignore Pillow's warnings, a line a file, about odd metadata and large sizes; real problems raise."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def guard_libraries(*, is_quiet: bool = False) -> None:
    """Show warnings, and log records that have no handler, in the same safe way.

    nnrun's own log records, such as where it downloads data from, are hidden if `is_quiet`.
    """
    ignore_pillow()
    # By default Python shows these only for code in __main__, but users' code is called from nnrun's modules.
    warnings.filterwarnings("default", r"nnrun\.", DeprecationWarning)
    notices = logging.getLogger("nnrun")
    if not notices.handlers:
        notices.addHandler(logging.StreamHandler())
    notices.setLevel(logging.WARNING if is_quiet else logging.INFO)
    for handler in (*notices.handlers, logging.lastResort):
        if handler is not None:
            handler.setFormatter(_VisibleFormatter())
    original = warnings.formatwarning
    if getattr(original, "is_visible", False):
        return

    def formatted(*words: object, **more: object) -> str:
        return visible_lines(original(*words, **more))  # type: ignore[arg-type]

    formatted.is_visible = True  # type: ignore[attr-defined]
    warnings.formatwarning = formatted
