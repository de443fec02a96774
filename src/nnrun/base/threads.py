"""Threads that work ahead; a thread that is stuck on a file that never answers is not waited for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items per thread that may be done or in progress ahead of their turn.
_AHEAD = 2
# How long to wait at the end for a thread to finish its item.
_FAREWELL_SECONDS = 0.5


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], num_threads: int
) -> Generator[Result, None, None]:
    """Yield `work(item)` for each item in order, computed some items ahead by threads; exceptions are raised here.

    However the generator ends, no item is started after that; Python's own pools would wait for those in progress.
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
