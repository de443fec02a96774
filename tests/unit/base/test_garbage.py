"""Garbage is collected while a command runs, but not while it imports; a program's own setting is kept."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from nnrun.base.garbage import collect_again, put_off_collection
from support.command_line import environment


@pytest.mark.parametrize("enabled", [True, False], ids=["on", "off"])
def test_it_is_as_it_was_afterwards(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        put_off_collection()
        assert not gc.isenabled()
        collect_again()
        assert gc.isenabled() is enabled
        gc.disable()
        collect_again()
        assert not gc.isenabled(), "what nobody has put off is not begun"
    finally:
        (gc.enable if before else gc.disable)()


def test_a_command_works_with_it(tmp_path: Path) -> None:
    code = """
import contextlib, gc, sys
import nnrun.tasks.doctor.run as work
from nnrun.__main__ import main
import nnrun.cli
seen = []
own = nnrun.cli.dispatch
nnrun.cli.dispatch = lambda words: (seen.append(gc.isenabled()), own(words))[1]
work.doctor = lambda *_: seen.append(gc.isenabled())
sys.argv = ["nnrun", "task=doctor"]
import nnrun.__main__
nnrun.__main__.leave_with = lambda code: print(code, seen)
main()
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment())
    assert done.stdout == "0 [False, True]\n", done.stderr
