"""A page with every kind of chart, opened in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nnrun.base.shown import Chart, Gallery, Page, Section, Table, Text
from nnrun.runs.page import write_page
from support.browser import Browser

pytestmark = pytest.mark.browser

HOSTILE = "</script><img src=x onerror=document.title='owned'>'\"\\"
NAMES = ["cat", "dog", HOSTILE]
CHARTS = [
    Chart("line", "line", [1, 2, 3], {"train": [3, 2, 1], "valid": [2, None, 2]}, "epoch", "loss", marks={"best": 2}),
    Chart("log", "line", [1, 10, 1000], {"lr": [1e-1, 0, 1e-6]}, "step", "rate", x_scale="log", y_scale="log"),
    Chart("many", "line", range(50), {f"run {k}": [i * k for i in range(50)] for k in range(20)}, "step", "loss"),
    Chart("band", "line", [0.1, 0.9], {"a": [0.2, 0.8], "interval, from": [0.1, 0.7], "interval, to": [0.3, 0.9]},
          bands=[("interval, from", "interval, to")]),
    Chart("points", "points", [0.1, 0.9], {"a": [0.2, 1.0], "b": [None, 1]}, "truth", "guess", diagonal=True),
    Chart("histogram", "bars", [0.5, 1.5, 2.5], {"right predictions": [1, 2, 3], "wrong": [0, 1, 5]}, "p", "n"),
    Chart("log bars", "bars", ["a", "b"], {"n": [10, 10_000]}, y_scale="log"),
    Chart("bars", "bars", NAMES, {HOSTILE: [1, 2, 3], "b": [3, None, -1]}, HOSTILE, HOSTILE),
    Chart("counts", "heatmap", NAMES, {name: [5, 0, 1] for name in NAMES}, HOSTILE, HOSTILE),
    Chart("values", "heatmap", range(20), {f"row {k}": [k - i for i in range(20)] for k in range(20)}),
    Chart("hostile", "line", [1, 2], {HOSTILE: [1, 2], "__proto__": [2, 1]}, HOSTILE, HOSTILE, marks={HOSTILE: 1}),
    Chart("nothing", "line", [], {"a": []}),
]  # fmt: skip
# An element of a chart's marks, not of its axes and legends.
MARKS = "svg .mark-line path, svg .mark-symbol path, svg .mark-rect path"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wide = Table("Wide", [f"a long column title {i}" for i in range(12)], [[HOSTILE, *range(11)]])
    others = [wide, Gallery("Mistakes", "test", {0: HOSTILE}), Text("Command", f"nnrun {HOSTILE * 9}", is_code=True)]
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(Page("Every chart", HOSTILE * 3, [Section("Charts", CHARTS), Section(HOSTILE, others)]), path)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def opened(browser: Browser, page: Path, width: int, *, is_dark: bool = False) -> Browser:
    browser.open(page, width=width, is_dark=is_dark)
    browser.wait_for("document.documentElement.dataset.drawn === 'all'")
    return browser


def color_of(browser: Browser, selector: str, name: str) -> str:
    return browser.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{name}")


def hovered(browser: Browser, number: int, where: tuple[float, float]) -> str:
    """The tooltip at a place in the plot of a chart, given in shares of its width and height."""
    plot = "svg .background"
    browser.evaluate(f"document.getElementById('chart-{number}').scrollIntoView({{block: 'center'}})")
    browser.evaluate("new Promise(done => setTimeout(done, 100))")  # scrolling hides a tooltip
    left, top, width, height = browser.evaluate(
        f"(() => {{ const {{x, y, width, height}} = document.querySelector('#chart-{number} {plot}')"
        ".getBoundingClientRect(); return [x, y, width, height]; })()"
    )
    browser.move_to(left + where[0] * width, top + where[1] * height)
    browser.wait_for("document.getElementById('tip').classList.contains('shown')")
    return browser.evaluate("document.getElementById('tip').innerText")


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (390, True)])
def test_every_chart_is_drawn_without_an_error_or_a_request(
    browser: Browser, page: Path, width: int, is_dark: bool
) -> None:
    opened(browser, page, width, is_dark=is_dark)
    assert browser.errors == []
    assert browser.requests == []
    count = f"[...document.querySelectorAll('.chart')].map(chart => chart.querySelectorAll('{MARKS}').length)"
    numbers = browser.evaluate(count)
    titles = [chart.title for chart, number in zip(CHARTS, numbers, strict=True) if not number]
    assert titles == ["nothing"]
    assert browser.evaluate("document.documentElement.scrollWidth") == width, "nothing is wider than the window"
    assert browser.evaluate("document.querySelector('.chart').clientWidth") > 0.2 * width
    assert browser.evaluate("document.title") == "Every chart"
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert browser.evaluate("document.querySelectorAll('main a, .chart a').length") == 0, "no link to an editor"


def test_hovering_shows_the_values_as_text(browser: Browser, page: Path) -> None:
    opened(browser, page, 1280)
    assert hovered(browser, 0, (0.5, 0.5)).split() == ["epoch", "2", "train", "2"]
    assert hovered(browser, 8, (0.9, 0.1)).split("\n")[-2:] == ["count", "1"]
    assert HOSTILE in hovered(browser, 8, (0.9, 0.9))
    assert HOSTILE in hovered(browser, 10, (0.9, 0.5))
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert browser.errors == []


def test_colors_follow_the_mode_of_the_reader_and_paper_is_light(browser: Browser, page: Path) -> None:
    """The charts too, without being drawn again."""
    opened(browser, page, 1280)
    parts = (("body", "backgroundColor"), ("svg .mark-line path", "stroke"), ("svg .mark-text text", "fill"))
    light = [color_of(browser, *part) for part in parts]
    browser.set_media(is_dark=True)
    dark = [color_of(browser, *part) for part in parts]
    assert not set(light) & set(dark)
    browser.set_media(is_dark=True, media="print")
    assert [color_of(browser, *part) for part in parts[1:]] == light[1:]


def test_a_legend_follows_the_width_of_the_window(browser: Browser, page: Path) -> None:
    labels = "[...document.querySelectorAll('#chart-5 .role-legend-label text')]"
    rows = f"new Set({labels}.map(label => label.getBoundingClientRect().top)).size"
    opened(browser, page, 1280)
    assert browser.evaluate(rows) == 1
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=900, deviceScaleFactor=1, mobile=False)
    browser.wait_for(f"{rows} === 2")
    assert browser.errors == []


def test_an_error_of_a_page_is_seen(browser: Browser, page: Path, tmp_path: Path) -> None:
    """Negative control of the tests above: a chart that cannot be drawn, and a script that is not the page's."""
    broken = tmp_path / "broken.html"
    text = page.read_text(encoding="utf-8").replace('"mark":{"type":"bar"}', '"mark":{"type":"blob"}')
    text = text.replace("</main>", "</main><script>document.title = 'owned'</script>")
    broken.write_text(text, encoding="utf-8")
    opened(browser, broken, 1280)
    assert any("Content Security Policy" in error for error in browser.errors)
    assert browser.evaluate("document.title") == "Every chart"
    assert "could not be drawn" in browser.evaluate("document.querySelector('main').innerText")
