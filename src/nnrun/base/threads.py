"""Threads that work ahead; nobody waits for one that is stuck in a file that never answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# How many items are done or under way, for each thread, before their turn has come.
_AHEAD = 2
# A thread that is not stuck takes note of the end with its next item.
_FAREWELL_SECONDS = 0.5


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], num_threads: int
) -> Generator[Result, None, None]:
    """Yield `work(item)` for each item in turn, done some items ahead by threads; what one raises is raised here.

    However the generator ends, no item is begun after that; Python's own pools would wait for those under way.
    """
    tasks: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    answers: dict[int, tuple[bool, Any]] = {}
    answered = threading.Condition()

    def serve() -> None:
        while (number := tasks.get()) is not None:
            answer: tuple[bool, Any]
            try:
                answer = (True, work(items[number]))
            except BaseException as error:
                answer = (False, error)
            with answered:
                answers[number] = answer
                answered.notify()

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(min(num_threads, len(items)))]
    try:
        for thread in threads:
            thread.start()
        asked = 0
        for number in range(len(items)):
            while asked < min(number + _AHEAD * len(threads), len(items)):
                tasks.put(asked)
                asked += 1
            with answered:
                while number not in answers:
                    answered.wait()
                is_done, value = answers.pop(number)
            if not is_done:
                raise value
            yield value
    finally:
        while not tasks.empty():
            tasks.get_nowait()
        for _ in threads:
            tasks.put(None)
        for thread in threads:
            thread.join(_FAREWELL_SECONDS)
