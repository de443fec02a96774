"""Train on the digits and take the pictures of docs/report.md: `make report-pictures`. Needs Chromium."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.browser import Browser

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
# A small network and few epochs: it makes mistakes to show.
COMMAND = ("nnrun", "model=mlp", "trainer.epochs=6", "hydra.run.dir=digits")
DESKTOP, PHONE = 1280, 390
# Pictures of a page have few colors: so many are enough, and the files are small.
NUM_COLORS = 96
SPACE = 14


def main() -> None:
    """Write the pictures."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        subprocess.run([str(Path(sys.executable).with_name(COMMAND[0])), *COMMAND[1:]], cwd=home, check=True)
        page = home / "digits" / "report.html"
        with Browser(home / "profile") as browser:
            shown(browser, page, DESKTOP)
            take(browser, "report.png", top_to(browser, "Loss"))
            take(browser, "report-confusion.png", row_of(browser, "Confusion matrix"))
            take(browser, "report-mistakes.png", row_of(browser, "Costliest mistakes"))
            take(browser, "report-calibration.png", row_of(browser, "Reliability diagram"))
            shown(browser, page, PHONE, is_dark=True)
            take(browser, "report-phone.png", top_to(browser, "Loss"))


def shown(browser: Browser, page: Path, width: int, *, is_dark: bool = False) -> None:
    """Open a page, and wait until its charts are drawn."""
    browser.open(page, width=width, is_dark=is_dark)
    browser.wait_for("document.documentElement.dataset.drawn === 'all'")
    assert not browser.errors, browser.errors


def row_of(browser: Browser, title: str) -> dict[str, float]:
    """Return the area of the items that stand beside one with a title, and of the item itself."""
    script = """(() => {
        const all = [...document.querySelectorAll('article')];
        const one = all.find(item => item.querySelector('h3')?.textContent === TITLE).getBoundingClientRect();
        const row = all.map(item => item.getBoundingClientRect()).filter(box => Math.abs(box.top - one.top) < 2);
        const left = Math.min(...row.map(box => box.left)), right = Math.max(...row.map(box => box.right));
        return {x: left + scrollX, y: one.top + scrollY, width: right - left, height: one.height};
    })()"""
    area = browser.evaluate(script.replace("TITLE", repr(title)))
    return {
        "x": area["x"] - SPACE, "y": area["y"] - SPACE,
        "width": area["width"] + 2 * SPACE, "height": area["height"] + 2 * SPACE,
    }  # fmt: skip


def top_to(browser: Browser, title: str) -> dict[str, float]:
    """Return the area from the top of the page to the end of an item."""
    area = row_of(browser, title)
    return {"x": 0, "y": 0, "width": browser.evaluate("innerWidth"), "height": area["y"] + area["height"]}


def take(browser: Browser, name: str, area: dict[str, float]) -> None:
    """Write a picture of an area, with few colors."""
    path = FOLDER / name
    browser.screenshot(path, area)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(NUM_COLORS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
