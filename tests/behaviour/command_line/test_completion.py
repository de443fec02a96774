"""Completion in a real bash, by the function that `nnrun -sc install=bash` gives it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.command_line import OWN, environment, nnrun, write_files

BASH = shutil.which("bash")
PROGRAM = '#!/bin/sh\nexec "{python}" -m nnrun "$@"\n'
SCRIPT = """\
eval "$(nnrun -sc install=bash)"
complete -p nnrun
try() { COMP_LINE="$1" COMP_POINT=${2:-${#1}}; hydra_bash_completion nnrun; printf '<%s>' "${COMPREPLY[@]}"; echo; }
try 'nnrun model=my'
try 'nnrun experiment=tutorial/b'
try 'nnrun trainer.precision=f'
try 'nnrun data.root=my\\ p'
try 'nnrun augment=[mix'
try 'nnrun model=my seed=1' 14
try 'nnrun nothing=at'
eval "$(nnrun -sc uninstall=bash)"
complete -p nnrun 2>&1
"""


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_a_bash_is_offered_what_fits(tmp_path: Path) -> None:
    """Own options, nested ones, values, a path with a space, a list, and what stands before the cursor alone."""
    write_files(tmp_path, OWN | {"bin/nnrun": PROGRAM.format(python=sys.executable), "my photos/a.png": ""})
    (tmp_path / "bin" / "nnrun").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{environment()['PATH']}"
    done = subprocess.run(
        [str(BASH), "--norc", "-c", SCRIPT],
        cwd=tmp_path,
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert "-F hydra_bash_completion nnrun" in lines[0]
    assert lines[1:-1] == [
        "<model=mynet>",
        "<experiment=tutorial/base><experiment=tutorial/batchnorm>",
        "<trainer.precision=fp32><trainer.precision=fp16>",
        r"<data.root=my\ photos/>",
        "<augment=[mixup>",
        "<model=mynet>",
        "<>",
    ]
    assert "no completion specification" in lines[-1], "it is taken away again"
    assert done.stderr == ""


def test_the_scripts_of_other_shells_and_a_query_without_a_shell(tmp_path: Path) -> None:
    fish = nnrun(["-sc", "install=fish"], tmp_path)
    assert fish.returncode == 0
    assert "function hydra_fish_completion" in fish.stdout
    asked = nnrun(["-sc", "query=fish"], tmp_path, COMP_LINE="nnrun model=ml")
    assert (asked.returncode, asked.stdout) == (0, "model=mlp\n")


def test_a_shell_is_answered_without_hydra_and_without_torch(tmp_path: Path) -> None:
    """It is asked at every press of a key."""
    code = """
import contextlib, runpy, sys
sys.argv = ["nnrun", "-sc", "query=bash"]
with contextlib.suppress(SystemExit):
    runpy.run_module("nnrun", run_name="__main__")
print("modules", *sorted({name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(COMP_LINE="nnrun trainer.precision=b"),
        capture_output=True,
        text=True,
        check=True,
    )
    first, modules = done.stdout.splitlines()
    assert first == "trainer.precision=bf16"
    assert not {"hydra", "omegaconf", "torch", "rich", "yaml"} & set(modules.split())
