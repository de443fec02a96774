"""Train on the digits and take the picture of docs/loggers.md: `make logger-pictures`. Needs Chromium, TensorBoard."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.browser import Browser

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "tensorboard.png"
COMMAND = ("nnrun", "logger=tensorboard", "trainer.epochs=10", "trainer.log_every_steps=5", "export=none")
PORT, NUM_COLORS, DRAWING_SECONDS = 6325, 96, 6


def main() -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        words = [str(Path(sys.executable).with_name(COMMAND[0])), *COMMAND[1:], "hydra.run.dir=run"]
        subprocess.run(words, cwd=home, check=True)
        server = [
            sys.executable,
            "-m",
            "tensorboard.main",
            "--logdir",
            "run",
            "--port",
            str(PORT),
            "--host",
            "127.0.0.1",
        ]
        process = subprocess.Popen(server, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            take(home, f"http://127.0.0.1:{PORT}")
        finally:
            process.kill()
            process.wait()


def take(home: Path, address: str) -> None:
    """Open the page once it is served, and write a picture of the curves, histograms and mistakes of a name."""
    for _ in range(300):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/data/runs", timeout=5) as answer:
            if b"tensorboard" in answer.read():
                break
        time.sleep(0.1)
    with Browser(home / "profile") as browser:
        size = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.call("Emulation.setDeviceMetricsOverride", **size)
        names = "valid/accuracy|train/loss|gradients/features.0.conv.weight|mistakes/01"
        browser.call("Page.navigate", url=f"{address}/?tagFilter={names}#timeseries")
        browser.wait_for("document.querySelectorAll('card-view').length > 3")
        browser.evaluate(f"new Promise(done => setTimeout(done, {1000 * DRAWING_SECONDS}))")
        browser.screenshot(PICTURE)
    with Image.open(PICTURE) as picture:
        picture.convert("RGB").quantize(NUM_COLORS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
