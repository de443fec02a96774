"""End a command's process within seconds of a signal, from its first moment to its last, whatever it is doing.

A run handles signals itself (signals.py). Before it starts there is nothing to save, and the process exits at once. A
run that is stuck, in a library's call or on a disk that does not answer, is ended from here. Imports little: Ctrl-C
may come at once.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from nnrun.base.stopping import heard_signals

# As in typing, which is slow to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

# How long the process may take to end after a signal that is not deferred, and after a second Ctrl-C.
GRACE_SECONDS = 3.0
SECOND_SECONDS = 1.0
# Undoing may itself hang on a disk that does not answer.
UNDOING_SECONDS = 0.7
# Where a library's thread hangs, its exit functions may hang too.
LEAVING_SECONDS = 2.0
_TICK_SECONDS = 0.1
# The maximum that one tick counts: a process that was suspended for an hour had no time to answer.
_LONG_TICK_SECONDS = 0.5
# Called before a message is printed from here, for example to clear the live line. Must not block.
BEFORE_LAST_WORDS: list[Callable[[], object]] = []
# The exit code, once it is known.
_CODE: list[int] = []
# The process that `watch` was called in.
_WATCHED: list[int] = []


def guard() -> None:
    """Exit on a signal from now on, except while other code handles signals."""
    for number in heard_signals():
        signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    """Exit at once; a command that has already ended keeps its exit code."""
    if not _CODE:
        _say("interrupted")
    _end(number)


def _say(text: str) -> None:
    """Write to stderr, even if the signal interrupted a write there."""
    import contextlib  # noqa: PLC0415 - see _end

    with contextlib.suppress(OSError):  # stderr is closed
        for prepare in BEFORE_LAST_WORDS:
            prepare()
        os.write(2, f"nnrun: {text}\n".encode())


def _end(number: int) -> NoReturn:
    """Undo what must not be left behind, and exit."""
    import threading  # noqa: PLC0415 - a command's first moments import only what they need

    if "nnrun.base.ending" in sys.modules:
        from nnrun.base.ending import undo_all  # noqa: PLC0415 - code that has something to undo has imported it

        undoing = threading.Thread(target=undo_all, daemon=True)
        undoing.start()
        undoing.join(UNDOING_SECONDS)
    os._exit(_CODE[0] if _CODE else _code_of(number))


def _code_of(number: int) -> int:
    """Return the exit code of a command that a signal ends."""
    return 128 + (signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)


def leave_with(code: int) -> NoReturn:
    """Exit with a code, after Python's own exit functions; a signal meanwhile only hastens that.

    The interpreter is not finalized: that would remove the signal handlers first, and a Ctrl-C in the last moment of
    a command would change its exit code.
    """
    import atexit  # noqa: PLC0415 - see _end
    import contextlib  # noqa: PLC0415
    import threading  # noqa: PLC0415

    _CODE.append(code)
    ending = sys.modules.get("nnrun.base.ending")
    if ending is not None and ending.has_left_threads():
        leaving = threading.Thread(target=atexit._run_exitfuncs, daemon=True)
        leaving.start()
        leaving.join(LEAVING_SECONDS)
    else:
        with contextlib.suppress(Exception):  # Python has printed it
            threading._shutdown()  # type: ignore[attr-defined]
        with contextlib.suppress(Exception):
            atexit._run_exitfuncs()
    if ending is not None:
        ending.undo_all()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def watch() -> None:
    """Notice signals even while Python is inside a library's call, and do not wait for that call forever."""
    import threading  # noqa: PLC0415 - see _end

    # Import what the thread needs before it starts: two threads that import at once may find half-initialized modules.
    import nnrun.base.signals  # noqa: F401, PLC0415

    _WATCHED.append(os.getpid())

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=_forget)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()


def is_own_process() -> bool:
    """Return whether this process is a command's own, and not that of a program which calls nnrun."""
    return os.getpid() in _WATCHED


def _forget() -> None:
    """Stop a forked child from reporting its signals to the parent."""
    signal.set_wakeup_fd(-1)


def _watch(reader: int) -> None:
    """End the process some time after a signal, if it has not ended by itself."""
    from nnrun.base.signals import in_force  # noqa: PLC0415 - see watch

    first, is_second, waited = 0, False, 0.0
    while True:
        before = time.monotonic()
        if select.select([reader], [], [], _TICK_SECONDS if first else None)[0]:
            for number in os.read(reader, 64):
                if number in heard_signals():
                    is_second = is_second or (bool(first) and number == signal.SIGINT)
                    first = first or number
            continue
        waited += min(time.monotonic() - before, _LONG_TICK_SECONDS)
        if is_second:
            waited = max(waited, GRACE_SECONDS - SECOND_SECONDS)
        elif in_force().is_deferred:  # a training finishes its step, and saves
            waited = 0.0
        if waited > GRACE_SECONDS:
            if not _CODE:
                _say("stopped in a call that did not return; saved files are intact")
            number = signal.SIGINT if is_second else first
            in_force().note(number)
            _end(number)
