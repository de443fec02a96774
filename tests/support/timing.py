"""Which tests `make test-fast` runs, and which come first: by a record of how long each file took."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# Seconds in one process, by the file's path below tests/. What is not in it yet counts as quick.
RECORD = TESTS / "data" / "seconds.json"
# Of what all take, which is some eight minutes on two cores; a share does not depend on the machine, or on its load.
SHARE = 0.15


def quickest(seconds: Mapping[str, float], budget: float) -> set[str]:
    """The quickest files, for as long as the budget lasts."""
    chosen, left = set(), budget
    for name in sorted(seconds, key=lambda name: (seconds[name], name)):
        if (left := left - seconds[name]) < 0:
            break
        chosen.add(name)
    return chosen


def slow_files() -> set[Path]:
    """The files that are left out."""
    seconds = json.loads(RECORD.read_text(encoding="utf-8"))
    return {TESTS / name for name in seconds.keys() - quickest(seconds, SHARE * sum(seconds.values()))}


def longest_first(paths: Iterable[Path], record: Path = RECORD) -> Callable[[pytest.Item], tuple[float, str]]:
    """A key that sorts tests by how long their file takes: those that are not recorded first, then the longest."""
    seconds = {TESTS / name: taken for name, taken in json.loads(record.read_text(encoding="utf-8")).items()}
    keys = {path: (-seconds.get(path, math.inf), str(path)) for path in set(paths)}
    return lambda item: keys[item.path]


class Stopwatch:
    """A plugin of pytest that writes the record: how long the tests of each file took, with their fixtures."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.partition("::")[0].removeprefix("tests/")] += report.duration

    def pytest_sessionfinish(self) -> None:
        rounded = {name: round(seconds, 1) for name, seconds in sorted(self._seconds.items())}
        RECORD.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
