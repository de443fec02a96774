from __future__ import annotations

import hashlib
import html.parser
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from nnrun.base.shown import Chart, Gallery, Page, Section, Table, Text
from nnrun.runs.page import write_page

HOSTILE = "</script><img src=x onerror=alert(1)>"
CURVE = Chart("Loss", "line", [1, 2], {"train": [2, 1]}, "epoch", "loss", note="Lower is better.")


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    data = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


class Elements(html.parser.HTMLParser):
    """The elements of a page by name, each with its attributes and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), []))
        if tag not in ("img", "meta", "br", "wbr"):
            self.open.append(len(self.found) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.found[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for index in self.open:
            self.found[index][2].append(data)

    def texts(self, tag: str) -> list[str]:
        return ["".join(texts).strip() for name, _, texts in self.found if name == tag]

    def attributes(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes, _ in self.found if name == tag)


def written(tmp_path: Path, *sections: Section, title: str = "cnn on digits", note: str = "") -> Elements:
    path = tmp_path / "report.html"
    write_page(Page(title, "finished", sections), path, note=note)
    return Elements(path.read_text(encoding="utf-8"))


def test_a_page_shows_everything_under_its_heading(tmp_path: Path) -> None:
    table = Table(
        "Per class", ["class", "F1", "samples"], [["cat", 0.5, 1234], ["dog", float("nan"), None]], "Low: cat."
    )
    facts = Table("", [], [("test accuracy", 0.98), ("best", "epoch 3")])
    gallery = Gallery("Mistakes", "test", {4: "truth 3\nguess 8", 9: "no picture"}, {4: png(8, 8)})
    page = written(
        tmp_path,
        Section("Result", [facts, Text("Repeat it", "nnrun model=cnn", is_code=True)]),
        Section("Training", [CURVE, table, gallery]),
        note="Written by nnrun.",
    )
    assert page.texts("title") == page.texts("h1") == ["cnn on digits"]
    assert page.texts("h2") == ["Result", "Training"]
    assert page.texts("h3") == ["Repeat it", "Loss", "Per class", "Mistakes"]
    assert page.texts("dt") == ["test accuracy", "best"]
    assert page.texts("dd") == ["0.9800", "epoch 3"]
    assert page.texts("code") == ["nnrun model=cnn"]
    assert page.texts("td") == ["cat", "0.5000", "1,234", "dog", "–", "–"]
    numbers = [attributes.get("class") for attributes in page.attributes("th")]
    assert numbers == [None, "number", "number"]
    assert "Lower is better." in page.texts("p")
    (picture,) = page.attributes("img")
    assert (picture["src"] or "").startswith("data:image/png;base64,")
    assert picture["alt"] == r"test sample 4: truth 3\nguess 8"
    assert page.texts("footer") == ["Written by nnrun."]
    (chart,) = (found for found in page.attributes("div") if found.get("role") == "img")
    assert chart["aria-label"] == "Loss. Lower is better"
    assert page.texts("noscript")
    links = [found["href"] for found in page.attributes("a")]
    assert links == ["#section-1", "#section-2"]
    assert {found["id"] for found in page.attributes("h2")} == {"section-1", "section-2"}


def test_names_of_classes_are_texts_also_if_they_are_numbers(tmp_path: Path) -> None:
    rows = [["3", "8", "0.50", "7", 4], ["1", "2", "0.25", "9", 5]]
    page = written(tmp_path, Section("a", [Table("t", ["true", "predicted", "share", "group", "samples"], rows)]))
    aligned = [found.get("class") for found in page.attributes("th")]
    assert aligned == [None, None, "number", None, "number"]


def test_titles_of_many_columns_may_be_broken(tmp_path: Path) -> None:
    """Those of few columns are not."""
    for number, breaks in ((9, 2), (8, 0)):
        titles = ["optimizer.lr", "valid/loss", *(f"c{index}" for index in range(number - 2))]
        page = written(tmp_path, Section("a", [Table("t", titles, [["1"] * number])]))
        assert page.texts("th") == titles
        assert len(list(page.attributes("wbr"))) == breaks
        assert ["class" in found for found in page.attributes("table")] == [number == 9]


def test_hostile_names_are_texts_everywhere(tmp_path: Path) -> None:
    chart = Chart(HOSTILE, "bars", [HOSTILE], {HOSTILE: [1]}, HOSTILE, HOSTILE, note=HOSTILE)
    table = Table(HOSTILE, [HOSTILE], [[HOSTILE]], HOSTILE)
    facts = Table(HOSTILE, [], [(HOSTILE, "\x1b[31mred")])
    gallery = Gallery(HOSTILE, HOSTILE, {0: HOSTILE}, {0: png(8, 8)})
    items = [chart, table, facts, gallery, Text(HOSTILE, HOSTILE), Text(HOSTILE, HOSTILE, is_code=True)]
    page = written(tmp_path, Section(HOSTILE, items), Section("b", []), title=HOSTILE, note=HOSTILE)
    assert len(list(page.attributes("img"))) == 1, "the gallery's own"
    assert not any("onerror" in found for _, found, _ in page.found)
    for tag in ("title", "h1", "h2", "h3", "td", "th", "dt", "code", "footer"):
        assert HOSTILE in page.texts(tag)[0]
    assert page.texts("dd") == [r"\x1b[31mred"]
    data, *_ = page.texts("script")
    assert json.loads(data)["specs"][0]["description"].count(HOSTILE) == 2


def test_a_page_loads_nothing_and_runs_its_own_scripts_alone(tmp_path: Path) -> None:
    page = written(tmp_path, Section("Training", [CURVE]))
    for attributes in page.attributes("script"):
        assert "src" not in attributes
    assert not list(page.attributes("link"))
    (policy,) = (found["content"] or "" for found in page.attributes("meta") if "http-equiv" in found)
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'sha256-" in policy
    style = "".join(page.texts("style"))
    assert "url(" not in style
    assert "@import" not in style


def test_a_page_without_charts_has_no_script(tmp_path: Path) -> None:
    page = written(tmp_path, Section("Result", [Text("", "done")]))
    assert not page.texts("script")
    assert (tmp_path / "report.html").stat().st_size < 20_000


def test_long_tables_are_folded_and_very_long_ones_cut(tmp_path: Path) -> None:
    tables = [Table("t", ["a"], [[i] for i in range(num_rows)]) for num_rows in (25, 26, 3_000)]
    page = written(tmp_path, Section("Tables", tables))
    assert page.texts("summary") == ["Show all 26 rows", "Show 2,000 of 3,000 rows"]
    assert len(page.texts("tr")) == 3 + 25 + 26 + 2_000
    assert "1,000 rows more." in page.texts("p")


def test_a_page_stays_below_three_megabytes(tmp_path: Path) -> None:
    picture = png(8, 8) + b"x" * 50_000
    captions = {i: f"sample {i}" for i in range(100)}
    curves = [
        Chart("t", "line", range(50_000), {f"s{k}": [i % 97 / 96 for i in range(50_000)] for k in range(3)})
        for _ in range(4)
    ]  # fmt: skip
    page = written(
        tmp_path, Section("Large", [Gallery("g", "test", captions, dict.fromkeys(captions, picture)), *curves])
    )
    assert (tmp_path / "report.html").stat().st_size < 3_000_000
    left_out = 100 - len(list(page.attributes("img")))
    assert left_out > 50
    assert f"{left_out} pictures left out: the page would be too large." in page.texts("p")
    assert len(page.texts("li")) == 100, "each still has its caption"


def test_vegas_scripts_are_those_whose_hashes_are_recorded() -> None:
    folder = files("nnrun.runs").joinpath("vega")
    scripts = json.loads(folder.joinpath("versions.json").read_text())["scripts"]
    assert [script["package"] for script in scripts] == ["vega", "vega-lite", "vega-embed"]
    for script in scripts:
        data = folder.joinpath(script["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == script["sha256"]
        # What would end a script element early, or leave it open.
        assert b"</script" not in data.lower()
        assert b"<!--" not in data
    assert "University of Washington" in folder.joinpath("LICENSES.txt").read_text()


@pytest.mark.parametrize(
    ("then", "expected"), [("", "False"), ("; page.write_page(Page('t', '', []), Path('r.html'))", "True")]
)
def test_jinja_is_imported_by_what_writes_a_page_alone(tmp_path: Path, then: str, expected: str) -> None:
    code = (
        "import sys; from pathlib import Path; from nnrun.base.shown import Page; from nnrun.runs import charts, page"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}{then}; print('jinja2' in sys.modules, 'altair' in sys.modules)"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{expected} False\n"
