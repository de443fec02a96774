"""The processes that tests start from one that has imported torch are as those that start by themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.warm import WarmPopen

TELLS = """
import atexit, json, os, sys, torch
from pathlib import Path
mine = {name: os.environ.get(name) for name in ("MINE", "PYTHONPATH")}
given = [sys.argv, os.getcwd(), sys.path[:2], mine, __name__, Path(sys.argv[0]).name, sys.stdin.read()]
print(json.dumps([*given, os.getsid(0) == os.getpid(), sorted(globals())]))
atexit.register(print, "at the end", file=sys.stderr)
sys.exit("a last word")
"""


@pytest.mark.parametrize("kind", ["-c", "file", "-m"])
def test_a_program_finds_and_leaves_what_it_does_when_it_starts_by_itself(kind: str, tmp_path: Path) -> None:
    """Negative control: only one of the two has a torch that it did not import."""
    (tmp_path / "told.py").write_text(TELLS)
    words = {"-c": ["-c", TELLS], "file": [str(tmp_path / "told.py")], "-m": ["-m", "told"]}[kind]
    told = []
    for start in (subprocess.Popen, WarmPopen):
        process = start(
            [sys.executable, *words, "one", "two words"],
            cwd=tmp_path,
            env={**os.environ, "MINE": "mine", "PYTHONPATH": "there"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        out, err = process.communicate("asked")
        told.append((json.loads(out), err, process.returncode, process.poll()))
    assert told[0] == told[1]
    assert told[0][1:] == ("a last word\nat the end\n", 1, 1)
    assert [start([sys.executable, "-c", HAS]).wait() for start in (subprocess.Popen, WarmPopen)] == [0, 1]


HAS = "import sys as s; s.exit('torch' in vars(s)['modules'])"


def test_one_ends_by_a_signal_by_an_error_and_with_its_code() -> None:
    sleeps = WarmPopen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"], stdout=-1)
    assert sleeps.stdout.readline() == b"1\n"
    assert sleeps.poll() is None
    sleeps.send_signal(signal.SIGTERM)
    assert sleeps.wait() == -signal.SIGTERM
    raises = WarmPopen([sys.executable, "-c", "1 / 0"], stderr=subprocess.PIPE, text=True)
    assert raises.communicate()[1].endswith("ZeroDivisionError: division by zero\n")
    assert raises.returncode == 1
    assert WarmPopen([sys.executable, "-I", "-c", "raise SystemExit(7)"]).wait() == 7
