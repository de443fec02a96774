"""Checks of a sweep's jobs that need torch, in one process apart: the sweep has no torch, nor the users' modules."""

from __future__ import annotations

import os
import pickle
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnrun.base.shown import counted
from nnrun.config.folders import find_modules_beside
from nnrun.sweeps.frozen import freeze, thaw
from nnrun.sweeps.orders import as_message, check_order, from_message
from nnrun.sweeps.seams import Ended, Order
from nnrun.sweeps.workers.messages import Channel
from nnrun.sweeps.workers.starter import Starter
from nnrun.tasks.rules import collect_rules

# How long the check of a job may take. What takes longer, such as an import that hangs, is left to the jobs.
_MOST_SECONDS = 60.0


def check_apart(
    starter: Starter, orders: Sequence[Order], own: Sequence[Path], say: Callable[[str], None], *, is_here: bool = True
) -> list[Ended]:
    """Return the ends of jobs that cannot run, by a process of `starter`; `say` takes a line if it did not finish.

    `own` are the user's config folders. With `is_here` the jobs run on this machine, whose devices are checked too.
    """
    orders = [order for order in orders if order.composed is not None]
    if not orders:
        return []
    ours, theirs = socket.socketpair()
    channel, num_checked, wrong = Channel(ours), 0, list[Ended]()
    try:
        with theirs:
            starter.start_check(orders, theirs)
        words = [[order.number, list(order.words)] for order in orders]
        message = {"checks": words, "own": list(map(str, own)), "is_here": is_here}
        channel.send(message, pickle.dumps([freeze(order.composed) for order in orders if order.composed]))
        while (
            num_checked < len(orders) and not channel.is_closed and select.select([channel], [], [], _MOST_SECONDS)[0]
        ):
            for checked, _ in channel.ready():
                num_checked += 1
                wrong += [from_message(checked["wrong"])] if checked["wrong"] else []
    finally:
        channel.close()
        starter.end_check()
    if num_checked < len(orders):
        say(
            f"{counted(len(orders) - num_checked, 'job')} could not be checked in advance; each is checked as it starts"
        )
    return wrong


def check_as_told(channel: Channel, message: Mapping[str, Any], content: bytes) -> int:
    """Check the jobs of a message of `check_apart`, answer each, and return the exit code.

    What the users' modules print as they are imported is dropped: the jobs will print it.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    find_modules_beside([Path(folder) for folder in message["own"]])
    for (number, words), frozen in zip(message["checks"], pickle.loads(content), strict=True):
        order = Order(number, words, Path(), composed=thaw(frozen, collect_rules()))
        ended = check_order(order, is_here=message["is_here"])
        channel.send({"wrong": None if ended is None else as_message(ended)})
    return 0
