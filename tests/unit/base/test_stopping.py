from __future__ import annotations

import faulthandler
import signal

from nnrun.base.signals import in_force, stop_request
from nnrun.base.stopping import heard_signals, unanswered_signals


def test_what_a_program_answers_itself_is_left_to_it_but_for_ctrl_c() -> None:
    earlier = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)}
    try:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        assert {signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2} <= set(unanswered_signals())
        signal.signal(signal.SIGUSR1, lambda *_: None)
        faulthandler.register(signal.SIGUSR2)
        assert not {signal.SIGUSR1, signal.SIGUSR2} & set(unanswered_signals())
        assert {signal.SIGINT, signal.SIGUSR1} <= set(heard_signals()), "a command hears them all"
        with stop_request(unanswered_signals()) as stop:
            assert in_force() is stop
            assert signal.getsignal(signal.SIGINT) == stop.receive
            assert signal.getsignal(signal.SIGUSR1) != stop.receive
    finally:
        faulthandler.unregister(signal.SIGUSR2)
        for number, handler in earlier.items():
            signal.signal(number, handler)
