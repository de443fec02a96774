"""Which tests `make test-fast` runs, and which come first."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from support.timing import TESTS, longest_first, quickest, slow_files

SECONDS = {"unit/a.py": 1.0, "unit/b.py": 2.0, "behaviour/c.py": 3.0, "behaviour/d.py": 50.0}


def test_the_quickest_files_are_run_for_as_long_as_the_budget_lasts() -> None:
    assert quickest(SECONDS, 6.5) == {"unit/a.py", "unit/b.py", "behaviour/c.py"}
    assert quickest(SECONDS, 2.5) == {"unit/a.py"}
    assert quickest(SECONDS, 56.0) == set(SECONDS)


def test_the_longest_files_come_first_and_before_them_those_that_are_not_recorded(tmp_path: Path) -> None:
    """A file's tests stay in their order."""
    record = tmp_path / "seconds.json"
    record.write_text(json.dumps(SECONDS))
    names = ["unit/a.py", "unit/a.py", "unit/new.py", "behaviour/d.py", "unit/b.py"]
    items = [SimpleNamespace(path=TESTS / name, number=number) for number, name in enumerate(names)]
    items.sort(key=longest_first([item.path for item in items], record))
    assert [item.number for item in items] == [2, 3, 4, 0, 1]


def test_fast_tests_leave_slow_files_out_and_keep_most_units() -> None:
    slow = {path for path in slow_files() if path.exists()}
    units = set((TESTS / "unit").rglob("test_*.py"))
    assert slow and len(units - slow) > len(units) / 2
