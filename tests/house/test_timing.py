"""Which tests `make test-fast` runs."""

from __future__ import annotations

from support.timing import TESTS, quickest, slow_files

SECONDS = {"unit/a.py": 1.0, "unit/b.py": 2.0, "behaviour/c.py": 3.0, "behaviour/d.py": 50.0}


def test_the_quickest_files_are_run_for_as_long_as_the_budget_lasts() -> None:
    assert quickest(SECONDS, 6.5) == {"unit/a.py", "unit/b.py", "behaviour/c.py"}
    assert quickest(SECONDS, 2.5) == {"unit/a.py"}
    assert quickest(SECONDS, 56.0) == set(SECONDS)


def test_fast_tests_leave_slow_files_out_and_keep_most_units() -> None:
    slow = {path for path in slow_files() if path.exists()}
    units = set((TESTS / "unit").rglob("test_*.py"))
    assert slow and len(units - slow) > len(units) / 2
