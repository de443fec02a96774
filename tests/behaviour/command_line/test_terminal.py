"""A narrow terminal, and one that cannot show every character: no number is broken, nothing is left over, no crash."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
from pathlib import Path

import pytest

from support.command_line import NNRUN, environment
from support.pictures import make_folder

SHORT = ("model=mlp", "trainer=debug", "data.batch_size=8", "hydra.run.dir=run")
# Names that neither ASCII nor Latin-1 have; the two are of one length.
NAMES = ("\u732b", "\u72ac", "\U0001f600")
COLUMNS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of classes with such names."""
    folder = tmp_path_factory.mktemp("terminal")
    make_folder(folder / "pictures", {"train": 12, "test": 3}, NAMES)
    return folder


def on_a_terminal(words: list[str], folder: Path) -> tuple[int, str]:
    """The exit code of a command on a terminal of 60 columns, and all that the terminal was sent."""
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [*NNRUN, *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=secondary,
        stderr=secondary,
        env=environment(COLUMNS=str(COLUMNS), TERM="xterm", NO_COLOR="1"),
    )
    os.close(secondary)
    sent = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while select.select([primary], [], [], 120)[0] and (part := os.read(primary, 4096)):
            sent += part
    os.close(primary)
    return process.wait(), sent.decode()


def shown(sent: str) -> list[str]:
    """The rows that are on the screen at the end: what is drawn over is gone."""
    rows = []
    for row in sent.replace("\r\n", "\n").split("\n"):
        # A live line ends with the cursor at its beginning, and what comes next clears it.
        kept = row.rpartition("\r")[2]
        rows.append(re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", kept))
    return rows


def test_a_run_fits_a_terminal_of_sixty_columns_and_leaves_nothing_over(folder: Path) -> None:
    code, sent = on_a_terminal(["data=folder", "data.root=pictures", *SHORT, "export=none"], folder)
    rows = shown(sent)
    assert code == 0, sent
    assert "\x1b[J" in sent, "there was a live line"
    assert max(map(len, rows)) <= COLUMNS
    epochs = [row for row in rows if row.startswith("epoch ")]
    assert len(epochs) >= 1
    assert all(re.fullmatch(r"epoch +\d+(  (train|valid)/\w+ [\d.]+)*(  best)?", row.rstrip()) for row in epochs)
    log = (folder / "run" / "run.log").read_text(encoding="utf-8")
    assert re.search(r"^epoch   1  step +\d+  train/loss", log, re.M), "the log has all of it"
    assert "\x1b" not in log


@pytest.mark.parametrize(
    "more",
    [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}],
    ids=["ascii", "latin-1", "C"],
)
def test_a_character_that_the_output_lacks_is_no_crash(more: dict[str, str], folder: Path) -> None:
    """Negative control: the files, which are UTF-8 wherever the output goes, have the names as they are."""
    run = f"run_{'_'.join(more)}_{'_'.join(more.values())}"
    words = ["task=inspect", "data=folder", "data.root=pictures", *SHORT[:1], "data.batch_size=8"]
    done = subprocess.run(
        [*NNRUN, *words, f"hydra.run.dir={run}"], cwd=folder, capture_output=True, env=environment(**more), check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u732b" in done.stdout
    assert b"\\U0001f600" in done.stdout
    assert "\u732b" in (folder / run / "run.log").read_text(encoding="utf-8")
    wrong = subprocess.run(
        [*NNRUN, "model=\u732b"], cwd=folder, capture_output=True, env=environment(**more), check=False
    )
    assert wrong.returncode == 2
    assert b"\\u732b" in wrong.stderr
