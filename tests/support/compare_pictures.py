"""Sweep on the digits and take the pictures of docs/compare.md: `make compare-pictures`. Needs Chromium."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.browser import Browser
from support.report_pictures import DESKTOP, row_of, shown, take, top_to

NNRUN = str(Path(sys.executable).with_name("nnrun"))
COMMANDS = (
    ("-m", "model=mlp", "optimizer.lr=1e-3,1e-2", "seed=0,1,2", "export=none", "trainer.epochs=10",
     "hydra.sweep.dir=rates"),
    ("model=cnn", "export=none", "trainer.epochs=10", "hydra.run.dir=cnn"),
    ("task=compare", "runs=[rates,cnn]", "hydra.run.dir=compared"),
)  # fmt: skip


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        for words in COMMANDS:
            subprocess.run([NNRUN, *words], cwd=home, check=True)
        with Browser(home / "profile") as browser:
            shown(browser, home / "compared" / "compare.html", DESKTOP)
            take(browser, "compare.png", top_to(browser, "valid/loss by epoch"))
            take(browser, "compare-settings.png", row_of(browser, "Settings and the metric"))


if __name__ == "__main__":
    main()
