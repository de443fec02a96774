"""What libraries say on their own: tracebacks, warnings and log records, with nothing in them that a terminal obeys."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings

from nnrun.base.visible import visible_lines


def show_traceback() -> None:
    """Write the traceback of the error at hand to stderr."""
    sys.stderr.write(visible_lines(traceback.format_exc()))


class _VisibleFormatter(logging.Formatter):
    """Format records as ever, but with nothing that a terminal obeys."""

    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(super().format(record))


def ignore_pillow() -> None:
    """Ignore what Pillow warns of, odd metadata and large sizes, a line for each file; what matters raises."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def guard_libraries(*, is_quiet: bool = False) -> None:
    """Have warnings, and what is logged with nobody else to show it, shown by the same rule.

    What nnrun itself logs, such as where it fetches data from, is not shown where it is to be quiet.
    """
    ignore_pillow()
    # By default Python shows these only where code of __main__ causes them; users' code is called from nnrun's modules.
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
