"""The process of a command: from its first moment to its last a signal ends it, within seconds, come what may.

A run answers signals itself (signals.py). Before it has begun there is nothing to save: the process leaves at once. And
a run that a signal finds in the midst of something that does not end, a library's call or a disk that does not answer,
is ended from here. Imports little: Ctrl-C may come at once.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from nnrun.base.stopping import heard_signals

# As typing has it, which takes a while to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

# A signal that is not deferred is answered by then; a second Ctrl-C too, whatever it finds.
GRACE_SECONDS = 3.0
SECOND_SECONDS = 1.0
# What is undone at the end may itself find a disk that does not answer.
UNDOING_SECONDS = 0.7
_TICK_SECONDS = 0.1
# A process that was stopped for an hour has had no time to answer: a tick counts for so much at most.
_LONG_TICK_SECONDS = 0.5
# What is done before something is said from here, such as taking the live line away: nothing that could wait.
BEFORE_LAST_WORDS: list[Callable[[], object]] = []
# What the process exits with, once that is known.
_CODE: list[int] = []


def guard() -> None:
    """Leave at a signal from here on, until something listens to signals itself, and again behind that."""
    for number in heard_signals():
        signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    """Leave at once; what has ended already keeps its exit code."""
    if not _CODE:
        _say("interrupted")
    _end(number)


def _say(text: str) -> None:
    """Say something on stderr, whoever is in the midst of writing there."""
    import contextlib  # noqa: PLC0415 - see _end

    with contextlib.suppress(OSError):  # nobody listens
        for prepare in BEFORE_LAST_WORDS:
            prepare()
        os.write(2, f"nnrun: {text}\n".encode())


def _end(number: int) -> NoReturn:
    """Undo what must not be left, and leave."""
    import threading  # noqa: PLC0415 - the first moments of a command are for what it needs then

    if "nnrun.base.ending" in sys.modules:
        from nnrun.base.ending import undo_all  # noqa: PLC0415 - whoever has something to undo has imported it

        undoing = threading.Thread(target=undo_all, daemon=True)
        undoing.start()
        undoing.join(UNDOING_SECONDS)
    os._exit(_CODE[0] if _CODE else _code_of(number))


def _code_of(number: int) -> int:
    """Return the exit code of a command that a signal ends."""
    return 128 + (signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)


def leave_with(code: int) -> NoReturn:
    """Exit with a code, as Python does; a signal that comes meanwhile hastens that, and changes nothing.

    But without taking Python itself down, for which it takes back what answers signals: the last moment of a command
    would be one in which Ctrl-C changes its exit code.
    """
    import atexit  # noqa: PLC0415 - see _end
    import contextlib  # noqa: PLC0415
    import threading  # noqa: PLC0415

    _CODE.append(code)
    with contextlib.suppress(Exception):  # it has been printed
        threading._shutdown()  # type: ignore[attr-defined]
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
    if "nnrun.base.ending" in sys.modules:
        from nnrun.base.ending import undo_all  # noqa: PLC0415 - see _end

        undo_all()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def watch() -> None:
    """Have signals seen even where Python is in the midst of a library's call, and not wait for it without end."""
    import threading  # noqa: PLC0415 - see _end

    # What the thread needs is there before it starts: while it imports, so would the command, and two threads that
    # import at once may find modules half made.
    import nnrun.base.signals  # noqa: F401, PLC0415

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=_forget)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()


def _forget() -> None:
    """Let a forked child answer its signals in its own way: what it hears is not its parent's to know."""
    signal.set_wakeup_fd(-1)


def _watch(reader: int) -> None:
    """End the process some time after a signal, as it is."""
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
                _say("stopped in a call that did not return; what was saved is whole")
            number = signal.SIGINT if is_second else first
            in_force().note(number)
            _end(number)
